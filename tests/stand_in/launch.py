"""Runs `pangu` with rank.py in place of `pangu train`: `launch.py launch rank-table ARGUMENTS...`."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pangu_alpha.cli.main import main
from pangu_alpha.cluster.launching import by_rank_table, by_scheduler, plan
from pangu_alpha.cluster.launching.plan import Plan

HERE = Path(__file__).parent
plan.SCHEDULER = "import time; time.sleep(1000)"  # MindSpore's takes seconds to start


def with_stand_in(make_plan: Callable[[argparse.Namespace], Plan]) -> Callable[[argparse.Namespace], Plan]:
    def make(arguments: argparse.Namespace) -> Plan:
        made = make_plan(arguments)
        words = made.command[made.command.index("train") + 1 :]
        # -S: without the packages a process starts in a fifth of the time.
        return replace(made, command=(sys.executable, "-S", str(HERE / "rank.py"), str(made.config.output), *words))

    return make


for module in (by_rank_table, by_scheduler):
    module.make_plan = with_stand_in(module.make_plan)
sys.exit(main())
