#!/usr/bin/env bash
# From nothing to a trained PanGu-α that writes: `bash launch/quickstart.sh`, see docs/quickstart.md and --help.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/install.sh
install requirements.txt
exec .venv/bin/python launch/quickstart.py "$@"
