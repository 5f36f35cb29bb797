#!/usr/bin/env bash
# Pins every package of pyproject.toml, and what it needs, for Python 3.10 to 3.12 at once.
# Usage: bash scripts/pin_requirements.sh      writes requirements.txt, requirements-corpus.txt and requirements-dev.txt
#        UPGRADE=1 bash scripts/pin_requirements.sh      takes the newest versions that fit
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet "uv==0.13.9"

# pin SOURCE... -o FILE: without UPGRADE, the versions that FILE already has stay.
pin() {
    UV_CUSTOM_COMPILE_COMMAND="bash scripts/pin_requirements.sh" "$scratch/venv/bin/uv" pip compile --quiet \
        --universal --python-version 3.10 --no-annotate ${UPGRADE:+--upgrade} "$@"
}

pin pyproject.toml --extra pictures --extra published-tokenizer --extra tensorboard -o requirements.txt
grep --invert-match '^-r ' requirements-corpus.txt >"$scratch/corpus.txt" 2>/dev/null || true
pin pyproject.toml --extra corpus --extra corpus-cluster --constraints requirements.txt -o "$scratch/corpus.txt"
{
    echo "-r requirements.txt"
    grep '^#' requirements.txt
    grep --invert-match --line-regexp --fixed-strings --file requirements.txt "$scratch/corpus.txt"
} >requirements-corpus.txt
grep --invert-match '^-r ' requirements-dev.txt >"$scratch/dev.txt" 2>/dev/null || true
pin --group dev --constraints requirements.txt --constraints requirements-corpus.txt -o "$scratch/dev.txt"
{
    echo "-r requirements-corpus.txt"
    cat "$scratch/dev.txt"
} >requirements-dev.txt
