"""Runs a launcher of `launch/` with rank.py in place of `pangu train`: `launch.py train_rank_table ARGUMENTS...`."""

import argparse
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

from pangu_alpha.cluster.launching.launch import Plan, main

HERE = Path(__file__).parent
NAME = sys.argv.pop(1)
SPEC = importlib.util.spec_from_file_location(NAME, HERE.parents[1] / "launch" / f"{NAME}.py")
assert SPEC is not None and SPEC.loader is not None
LAUNCHER = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(LAUNCHER)


def make_plan(arguments: argparse.Namespace) -> Plan:
    plan = LAUNCHER.make_plan(arguments)
    words = plan.command[plan.command.index("train") + 1 :]
    # -S: without the packages a process starts in a fifth of the time.
    return replace(plan, command=(sys.executable, "-S", str(HERE / "rank.py"), str(plan.config.output), *words))


sys.exit(main(NAME, LAUNCHER._parser(), make_plan))
