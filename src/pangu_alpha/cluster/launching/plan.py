"""What a job is: which process runs where with which environment, on this machine or over ssh on all servers.

`by_rank_table.py` and `by_scheduler.py` say which servers there are; everything else is here.
"""

from __future__ import annotations

import argparse
import shlex
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pangu_alpha.checkpoint import checkpoints_at
from pangu_alpha.cluster.launching.environment import (
    Card,
    Scheduler,
    forwarded_environment,
    scheduler_environment,
    worker_environment,
)
from pangu_alpha.cluster.launching.hosts import ssh_words
from pangu_alpha.cluster.launching.job import ProcessOrder
from pangu_alpha.cluster.patterns import check_host_name
from pangu_alpha.cluster.ports import free_port
from pangu_alpha.config import RunConfig, override
from pangu_alpha.errors import ClusterError, ConfigError
from pangu_alpha.run_folder import EVALUATION, LOGS

PORT = 8118
"""Of MindSpore's scheduler, as for `msrun`, when each server is started by hand and a free one cannot be agreed on."""
PANGU = (sys.executable, "-m", "pangu_alpha.cli.main")
"""The command `pangu`, of this interpreter."""
SCHEDULER = "import mindspore; from mindspore.communication import init; mindspore.set_device('CPU'); init('mccl')"
"""What the scheduler process runs."""


@dataclass(frozen=True)
class JobServer:
    """One server of a job."""

    address: str
    cards: tuple[Card, ...]

    def __post_init__(self) -> None:
        """Its address goes to ssh, into commands and into the names of files."""
        check_host_name(self.address)


@dataclass(frozen=True)
class Plan:
    """Everything that decides what is started."""

    config: RunConfig
    command: tuple[str, ...]
    """What every rank runs."""
    servers: tuple[JobServer, ...]
    """In the order of their first ranks."""
    ssh: str | None
    """How the servers are reached, all of them; None: only `here` is started."""
    here: JobServer
    """The server that this machine is."""

    @property
    def is_whole(self) -> bool:
        """Whether this launcher starts the whole job."""
        return self.ssh is not None or len(self.servers) == 1

    @property
    def logs(self) -> Path:
        """Directory of the logs."""
        return self.config.output / LOGS

    @property
    def num_ranks(self) -> int:
        """Processes of the job, the scheduler not counted."""
        return sum(len(server.cards) for server in self.servers)

    @cached_property
    def ips(self) -> dict[str, str]:
        """What the addresses of the servers stand for.

        Raises:
            ClusterError: an address has no number, or the first one's has it on its own machine only.
        """
        ips = {server.address: ip_of(server.address) for server in self.servers}
        first = self.servers[0].address
        if ips[first].startswith("127.") and not all(ip.startswith("127.") for ip in ips.values()):
            raise ClusterError(
                f"host {first} is {ips[first]} here, where no other server can reach it: name it by an address of its "
                "network card, or correct /etc/hosts"
            )
        return ips

    def tasks(self, server: JobServer, port: int) -> tuple[ProcessOrder, ...]:
        """The processes of `server`.

        Args:
            port: of the scheduler, which is on the first server.
        """
        first, num_ranks = self.servers[0], self.num_ranks
        scheduler, ip = Scheduler(self.ips[first.address], port), self.ips[server.address]
        num_servers = len(self.servers)
        environments = [
            worker_environment(self.config.device, card, num_ranks, scheduler, ip, num_servers) for card in server.cards
        ]
        tasks = [
            ProcessOrder(f"rank {card.rank}", self.command, environments[index], index, len(server.cards))
            for index, card in enumerate(server.cards)
        ]
        if server is first:
            tasks.insert(0, scheduler_order(num_ranks, scheduler))
        return tuple(tasks)

    def shown(self, server: JobServer) -> Path | None:
        """The log of rank 0, for the server that has it."""
        return self.logs / "rank_0.log" if server is self.servers[0] else None


def what_ranks_do(
    arguments: argparse.Namespace, config: RunConfig, overrides: Sequence[str]
) -> tuple[RunConfig, tuple[str, ...]]:
    """Train, or with --evaluate or --tasks measure what was trained: the settings, and the command of every rank.

    A measurement has a folder of its own in that of the run, so that it touches no record of the training.

    Raises:
        CheckpointError: there is nothing to measure.
        ConfigError: a text or the data sets are not there, or what is to be done is not clear.
    """
    recipe = (arguments.recipe, *overrides)
    if arguments.data is not None and not arguments.tasks:
        raise ConfigError("--data without --tasks: say which tasks")
    if not arguments.evaluate and not arguments.tasks:
        hardware = () if arguments.hardware is None else ("--hardware", arguments.hardware)
        return config, (*PANGU, "train", *recipe, *hardware)
    if arguments.hardware is not None:
        raise ConfigError("--hardware is of a training: leave it out where the run is measured")
    if arguments.evaluate and arguments.tasks:
        raise ConfigError("--evaluate and --tasks: one after the other, please")
    newest = checkpoints_at(config.output)[-1]
    output = config.output / EVALUATION
    words = _of_tasks(arguments, output / newest.name) if arguments.tasks else _of_texts(arguments, output)
    where = ("--checkpoint", str(config.output), "--recipe", *recipe, override("output", output))
    return config.model_copy(update={"output": output}), (*PANGU, "evaluate", *words, *where)


def _of_texts(arguments: argparse.Namespace, output: Path) -> tuple[str, ...]:
    if missing := [path for path in arguments.evaluate if not path.exists()]:
        raise ConfigError(f"--evaluate {missing[0]}: no such file or directory")
    texts = [str(path) for path in arguments.evaluate]
    return ("perplexity", "--json", str(output / "perplexity.json"), "--input", *texts)


def _of_tasks(arguments: argparse.Namespace, output: Path) -> tuple[str, ...]:
    if arguments.data is None or not arguments.data.is_dir():
        raise ConfigError(f"--tasks needs --data, the folder with the data sets, and {arguments.data} is none")
    words = ("--tasks", arguments.tasks, "--shots", arguments.shots, "--data", str(arguments.data))
    return ("tasks", *words, "--output", str(output))


def describe(plan: Plan) -> str:
    """Every command and environment that `launch` would use, as shell commands, and what they leave out."""
    port = free_port() if plan.is_whole else PORT
    directory = shlex.quote(str(Path.cwd()))
    lines = [f"# {plan.num_ranks} ranks on {len(plan.servers)} server(s), working directory {directory}"]
    lines.append(f"# port {port} is an example: every start takes a free one" if plan.is_whole else f"# port {port}")
    if plan.ssh:
        settings = [f"{name}={value}" for name, value in forwarded_environment().items()]
        lines.append(f"# from this machine every process also gets {shlex.join(settings)}")
    shown = plan.servers if plan.ssh else (plan.here,)
    num_processes = 0
    for server in shown:
        num_cards, tasks = len(server.cards), plan.tasks(server, port)
        num_processes += len(tasks)
        lines.append(f"# server {server.address}: {num_cards} rank(s); its cores ÷ {num_cards} are the threads of each")
        if plan.ssh:
            lines.append(
                f"{shlex.join(ssh_words(server.address, plan.ssh))}  # starts there, as ordered through stdin:"
            )
        for task in tasks:
            settings = [f"{name}={value}" for name, value in task.environment.items()]
            log = shlex.quote(str(plan.logs / task.log_name))
            lines.append(f"{shlex.join(['env', *settings, *task.words])} > {log} 2>&1")
    return "\n".join([*lines, *_summary_of(plan, len(shown), num_processes)])


def _summary_of(plan: Plan, num_shown: int, num_processes: int) -> list[str]:
    """What a dry run has shown, and what it has left out."""
    others = len(plan.servers) - num_shown
    left_out = [
        "OMP_NUM_THREADS and the cores of each process, which its server chooses",
        "the rest of the environment, which every process has from the shell that starts it",
        "that logs, exit codes and records of an earlier start are moved aside or removed",
    ]
    if others:
        left_out.insert(0, f"{others} other server(s): run this command on each of them, or give --hosts FILE")
    return [
        f"# summary: {num_processes} process(es) on {num_shown} server(s), {plan.num_ranks} ranks in the whole job; "
        "nothing was started and nothing was written",
        *(f"# left out: {what}" for what in left_out),
        "# not looked at: data, tokenizer, disk, versions, cards, and whether servers answer; `pangu doctor` does that",
    ]


def scheduler_order(num_ranks: int, scheduler: Scheduler) -> ProcessOrder:
    """The process through which the ranks find each other."""
    return ProcessOrder("scheduler", (sys.executable, "-c", SCHEDULER), scheduler_environment(num_ranks, scheduler))


def ip_of(address: str) -> str:
    """The number of a host.

    Raises:
        ClusterError: nobody here knows it.
    """
    try:
        return socket.gethostbyname(address.rpartition("@")[2])
    except OSError as error:
        raise ClusterError(
            f"host {address} is not known here ({error}): correct its name, or give its number"
        ) from error
