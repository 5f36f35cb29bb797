#!/usr/bin/env bash
# Makes .venv in the project with the pinned packages and the project itself: `bash scripts/install.sh`.
# Sourced by quickstart.sh and test.sh for `install REQUIREMENTS...`.    PYTHON names the interpreter to make .venv with.

# Whether an interpreter runs and has a version that MindSpore 2.10 has packages for.
fits() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; }

# Prints the first interpreter of a version that MindSpore 2.10 has packages for.
find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3.12 python3.11 python3.10 python3; do
        if fits "$candidate"; then
            echo "$candidate"
            return
        fi
        if [[ $candidate == "${PYTHON:-}" ]]; then
            echo "PYTHON=$PYTHON is not a Python 3.10, 3.11 or 3.12 that runs" >&2
            return 2
        fi
    done
    echo "Python 3.10, 3.11 or 3.12 is needed (MindSpore 2.10 has no packages for others), and none was found." >&2
    echo "Install one, or name it: PYTHON=/path/to/python3.11 bash $0" >&2
    return 2
}

# Prints the version of an interpreter that works, and nothing for any other.
version_of() { "$1" -c 'import sys; print(sys.version)' 2>/dev/null || true; }

install() {
    local python version stamp file present
    present=$(version_of .venv/bin/python)
    # Without a wish, the .venv that is there is kept, whatever other Pythons have come since.
    if [[ -z ${PYTHON:-} ]] && fits .venv/bin/python; then
        python=.venv/bin/python
    else
        python=$(find_python) || return
    fi
    version=$(version_of "$python")
    # One stamp for each set of requirements: the tests' packages do not make the quickstart install again.
    file=.venv/installed_$(basename "${@: -1}" .txt)
    stamp=$(printf '%s\n' "$PWD" "$version"; cat pyproject.toml "$@")
    if [[ -x .venv/bin/python && -f $file && $(<"$file") == "$stamp" ]]; then
        echo "install: .venv is up to date" >&2
        return
    fi
    if [[ -n $present && $present != "$version" ]]; then
        echo "install: .venv is of Python ${present%% *}, and $python is ${version%% *}. A running job may use .venv:" >&2
        echo "go on without PYTHON=…, or end the jobs, remove it (rm -r $PWD/.venv) and start again" >&2
        return 2
    fi
    if [[ -z $present ]]; then
        echo "install: making .venv with Python ${version%% *}" >&2
        if ! "$python" -m venv --clear .venv; then
            echo "$python cannot make virtual environments; on Debian and Ubuntu install its -venv package" >&2
            return 2
        fi
    fi
    echo "install: packages of $* into .venv (some 300 MB to fetch the first time; a minute or two)" >&2
    .venv/bin/python -m pip install -qq --disable-pip-version-check "${@/#/--requirement=}" || return 2
    .venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --editable . || return 2
    echo "$stamp" >"$file"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    set -euo pipefail
    cd "$(dirname "$0")/.."
    install requirements.txt
fi
