#!/usr/bin/env bash
# Training with several processes, on this machine or on several; see `bash launch/train_msrun.sh --help`.
set -euo pipefail
source "$(dirname "$0")/run_python.sh"
run_python train_msrun "$@"
