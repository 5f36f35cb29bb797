#!/usr/bin/env bash
# Training on the devices of a rank table; see `bash launch/train_rank_table.sh --help`.
set -euo pipefail
source "$(dirname "$0")/run_python.sh"
run_python train_rank_table "$@"
