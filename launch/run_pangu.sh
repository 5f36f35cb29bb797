# Sourced by the launchers: runs `pangu` with the first interpreter that has the package.
# Usage: run_pangu WORDS...      PYTHON may name one that comes before .venv's; it may also be what .venv was made with.
run_pangu() {
    local root candidate
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    for candidate in ${PYTHON:+"$PYTHON"} "$root/.venv/bin/python" python3; do
        if "$candidate" -c "import pangu_alpha" 2>/dev/null; then
            exec "$candidate" -m pangu_alpha.cli.main "$@"
        fi
    done
    echo "$0: no Python here has pangu_alpha. Run scripts/install.sh once (it makes .venv), or set PYTHON" >&2
    exit 2
}
