#!/usr/bin/env bash
# Training with several processes, on this machine or on several: `pangu launch msrun`, see --help.
set -euo pipefail
source "$(dirname "$0")/run_pangu.sh"
run_pangu launch msrun "$@"
