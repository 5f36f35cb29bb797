# Sourced by the launchers: runs their Python program with the interpreter that has the package.
# Usage: run_python PROGRAM ARGUMENTS...      PYTHON names the interpreter, otherwise it is .venv's.
run_python() {
    local root program=$1
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    shift
    if [[ -z ${PYTHON:-} ]]; then
        PYTHON=$root/.venv/bin/python
        [[ -x $PYTHON ]] || PYTHON=python3
    fi
    if ! "$PYTHON" -c "import pangu_alpha" 2>/dev/null; then
        echo "$program: $PYTHON has no pangu_alpha. Run launch/quickstart.sh once (it makes .venv), or set PYTHON" >&2
        exit 2
    fi
    exec "$PYTHON" "$root/launch/$program.py" "$@"
}
