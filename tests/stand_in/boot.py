"""Runs the boot file of ModelArts with rank.py in place of `pangu train`."""

import sys
from pathlib import Path

from pangu_alpha.cluster.launching import plan
from pangu_alpha.cluster.modelarts.boot_file import make_boot
from pangu_alpha.command_line import run_program

HERE = Path(__file__).parent
plan.SCHEDULER = "import time; time.sleep(1000)"  # MindSpore's takes seconds to start


def run() -> int:
    boot = make_boot()
    boot.command = (sys.executable, "-S", str(HERE / "rank.py"), str(boot.config.output), *boot.command)
    return boot.run()


sys.exit(run_program("modelarts_boot", run))
