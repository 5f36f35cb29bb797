#!/usr/bin/env bash
# ModelArts runs this on every node before the boot file: installs what the image lacks.
# The image brings MindSpore and CANN; the packages and the project come from the job's code directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python}

# One installation at a time, and none when this job's node has it: the platform may run this once a card.
exec 9>"${TMPDIR:-/tmp}/pangu_alpha_install.lock"
flock --wait 1800 9 || { echo "ma-pre-start.sh: another card has been installing for half an hour" >&2; exit 2; }
if "$python" -c 'import pangu_alpha' 2>/dev/null; then
    exit 0
fi
"$python" -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --editable .
