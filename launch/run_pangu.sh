# Sourced by the launchers: runs `pangu` with the interpreter that has the package.
# Usage: run_pangu WORDS...      PYTHON names the interpreter, otherwise it is .venv's.
run_pangu() {
    local root
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    if [[ -z ${PYTHON:-} ]]; then
        PYTHON=$root/.venv/bin/python
        [[ -x $PYTHON ]] || PYTHON=python3
    fi
    if ! "$PYTHON" -c "import pangu_alpha" 2>/dev/null; then
        echo "$0: $PYTHON has no pangu_alpha. Run scripts/install.sh once (it makes .venv), or set PYTHON" >&2
        exit 2
    fi
    exec "$PYTHON" -m pangu_alpha.cli.main "$@"
}
