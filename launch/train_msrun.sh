#!/usr/bin/env bash
# Data-parallel training with several processes on this machine; see `bash launch/train_msrun.sh --help`.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

if [[ -z ${PYTHON:-} ]]; then
    PYTHON=$root/.venv/bin/python
    [[ -x $PYTHON ]] || PYTHON=python3
fi
if ! "$PYTHON" -c "import pangu_alpha" 2>/dev/null; then
    echo "train_msrun.sh: $PYTHON has no pangu_alpha. Run launch/quickstart.sh once (it makes .venv), or set PYTHON" >&2
    exit 2
fi
exec "$PYTHON" "$root/launch/train_msrun.py" "$@"
