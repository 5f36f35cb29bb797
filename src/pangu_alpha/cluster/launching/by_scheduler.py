"""Jobs whose processes find each other through MindSpore's scheduler: `pangu launch msrun`.

They are the processes that MindSpore's `msrun` starts (a scheduler, and workers that find each other through it), with
the same environment. msrun itself is not used: when a worker dies it waits for the scheduler's time-outs, and on Ctrl-C
it kills the workers before they can save.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pangu_alpha.cluster.launching.environment import Card
from pangu_alpha.cluster.launching.hosts import SSH
from pangu_alpha.cluster.launching.plan import JobServer, Plan, what_ranks_do
from pangu_alpha.cluster.rank_tables.inventory import read_hosts
from pangu_alpha.config import load_config
from pangu_alpha.errors import ClusterError


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
    config, command = what_ranks_do(arguments, load_config(arguments.recipe, overrides), overrides)
    hosts = list(read_hosts(arguments.hosts)) if arguments.hosts else ["127.0.0.1"]
    servers = _servers(hosts, arguments.workers)
    return Plan(
        config=config,
        command=command,
        servers=servers,
        ssh=(arguments.ssh or SSH) if arguments.hosts else None,
        here=servers[0],
    )


def _servers(hosts: Sequence[str], num_workers: int) -> tuple[JobServer, ...]:
    per_host, rest = divmod(num_workers, len(hosts))
    if rest or not per_host:
        raise ClusterError(
            f"--workers {num_workers} ÷ {len(hosts)} hosts is not whole: every host starts as many processes"
        )
    return tuple(
        JobServer(host, tuple(Card(i * per_host + device, device) for device in range(per_host)))
        for i, host in enumerate(hosts)
    )
