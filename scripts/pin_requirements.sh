#!/usr/bin/env bash
# Pins every package of pyproject.toml, and what it needs, for Python 3.10 to 3.12 at once.
# Usage: bash scripts/pin_requirements.sh      writes requirements.txt and those of the corpus, the harness and development
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

# pin_part NAME BASE EXTRA...: requirements-NAME.txt, what the extras need beside what requirements BASE have.
pin_part() {
    local name=$1 base=$2
    shift 2
    "$scratch/venv/bin/python" -c "
import sys, tomllib
extras = tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']
print(*(item for name in sys.argv[1:] for item in extras[name]), sep='\n')" "$@" >"$scratch/$name.in"
    grep --invert-match '^-r ' "requirements-$name.txt" >"$scratch/$name.txt" 2>/dev/null || true
    pin "$scratch/$name.in" --constraints requirements.txt --constraints "$base" -o "$scratch/$name.txt"
    {
        echo "-r requirements.txt"
        grep '^#' requirements.txt
        grep --invert-match --line-regexp --fixed-strings --file requirements.txt "$scratch/$name.txt"
    } >"requirements-$name.txt"
}

pin_part corpus requirements.txt corpus corpus-cluster
pin_part harness requirements-corpus.txt harness
grep --invert-match '^-r ' requirements-dev.txt >"$scratch/dev.txt" 2>/dev/null || true
pin --group dev --constraints requirements.txt --constraints requirements-corpus.txt \
    --constraints requirements-harness.txt -o "$scratch/dev.txt"
{
    echo "-r requirements-corpus.txt"
    echo "-r requirements-harness.txt"
    cat "$scratch/dev.txt"
} >requirements-dev.txt
