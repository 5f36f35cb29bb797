#!/usr/bin/env bash
# From nothing to a trained PanGu-α that writes, on this machine's processor:
# installs the pinned packages into .venv, fetches a novel, learns a tokenizer,
# trains, measures the result and lets it continue three prompts.
#
# Usage: bash launch/quickstart.sh [section.key=value ...] [--text PATH ...] [--output DIR]
#   section.key=value  settings that replace those of configs/quickstart.yaml
#   --text PATH ...    own .txt, .jsonl or .jsonl.zst files, or directories of them
#   --output DIR       where everything goes (default: runs/quickstart)
#   PYTHON=...         the Python 3.10, 3.11 or 3.12 to use
#
# Run it again after an interruption: it goes on from what is there.
# Examples:
#   bash launch/quickstart.sh
#   bash launch/quickstart.sh --text novels/ diary.txt --output runs/mine
#   bash launch/quickstart.sh train.steps=100 --output runs/short
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

for word in "$@"; do
    if [[ $word == -h || $word == --help ]]; then
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"
        exit
    fi
done
source "$root/scripts/install.sh"
(cd "$root" && install requirements.txt)
exec "$root/.venv/bin/python" -m pangu_alpha.cli.main quickstart "$@"
