"""Starts a job whose processes find each other through MindSpore's scheduler, and follows it.

They are the processes that MindSpore's `msrun` starts (a scheduler, and workers that find each other through it), with
the same environment. msrun itself is not used: when a worker dies it waits for the scheduler's time-outs, and on Ctrl-C
it kills the workers before they can save.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pangu_alpha.cluster.launching.environment import Card
from pangu_alpha.cluster.launching.launch import TRAIN, Plan, Server, add_launch_arguments, main
from pangu_alpha.cluster.rank_tables.inventory import read_hosts
from pangu_alpha.command_line import Parser
from pangu_alpha.config import load_config
from pangu_alpha.errors import ClusterError


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="launch/train_msrun.sh",
        description="Train with several processes, on this machine or on several; parallel.dp is set to what they "
        "leave beside mp and pp. The same command again goes on from the newest checkpoint.",
        epilog="examples:\n  bash launch/train_msrun.sh --workers 2 configs/tiny_cpu.yaml\n"
        "  bash launch/train_msrun.sh --workers 8 350m train.batch_size=64 output=runs/350m\n"
        "  bash launch/train_msrun.sh --workers 16 --hosts hosts.txt --restarts 3 350m",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workers", type=int, required=True, metavar="N", help="processes of the whole job")
    add_launch_arguments(parser)
    parser.add_argument("recipe", help="a YAML file or the name of a shipped recipe")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings that replace the recipe's")
    return parser


def make_plan(arguments: argparse.Namespace) -> Plan:
    """The job that the command line asks for.

    Raises:
        PanguError: the recipe, the hosts file or the number of workers is not what a job needs.
    """
    parallel = load_config(arguments.recipe, [*arguments.overrides, "parallel.dp=1"]).parallel
    dp, rest = divmod(arguments.workers, parallel.mp * parallel.pp)
    if dp < 1 or rest:
        raise ClusterError(
            f"--workers {arguments.workers} ÷ (parallel.mp({parallel.mp}) × parallel.pp({parallel.pp})) is not a whole "
            "number of replicas: change --workers, parallel.mp or parallel.pp"
        )
    overrides = [*arguments.overrides, f"parallel.dp={dp}"]
    config = load_config(arguments.recipe, overrides)
    hosts = list(read_hosts(arguments.hosts)) if arguments.hosts else ["127.0.0.1"]
    servers = _servers(hosts, arguments.workers)
    return Plan(
        config=config,
        command=(*TRAIN, arguments.recipe, *overrides),
        servers=servers,
        rank_table=None,
        ssh=arguments.ssh if arguments.hosts else None,
        here=servers[0],
    )


def _servers(hosts: Sequence[str], num_workers: int) -> tuple[Server, ...]:
    per_host, rest = divmod(num_workers, len(hosts))
    if rest or not per_host:
        raise ClusterError(
            f"--workers {num_workers} ÷ {len(hosts)} hosts is not whole: every host starts as many processes"
        )
    return tuple(
        Server(host, tuple(Card(i * per_host + device, device) for device in range(per_host)))
        for i, host in enumerate(hosts)
    )


if __name__ == "__main__":
    sys.exit(main("train_msrun", _parser(), make_plan))
