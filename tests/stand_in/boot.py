"""Runs launch/modelarts_boot.py with rank.py in place of `pangu train`."""

import importlib.util
import sys
from pathlib import Path

from pangu_alpha.console import say
from pangu_alpha.errors import PanguError

HERE = Path(__file__).parent
SPEC = importlib.util.spec_from_file_location("modelarts_boot", HERE.parents[1] / "launch" / "modelarts_boot.py")
assert SPEC is not None and SPEC.loader is not None
LAUNCHER = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(LAUNCHER)

try:
    boot = LAUNCHER.make_boot()
    boot.command = (sys.executable, "-S", str(HERE / "rank.py"), str(boot.config.output), *boot.command)
    sys.exit(boot.run())
except PanguError as error:
    say(f"modelarts_boot: {error}")
    sys.exit(error.exit_code)
