#!/usr/bin/env bash
# Training on the devices of a rank table: `pangu launch rank-table`, see --help.
set -euo pipefail
source "$(dirname "$0")/run_pangu.sh"
run_pangu launch rank-table "$@"
