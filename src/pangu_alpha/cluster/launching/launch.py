"""Starting a job: which process runs where with which environment, on this machine or over ssh on all servers.

The launchers in `launch/` say which servers there are (a rank table, or a list of hosts); everything else is here.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pangu_alpha.cluster.launching.environment import (
    Card,
    Scheduler,
    forwarded_environment,
    rank_table_environment,
    scheduler_environment,
    worker_environment,
)
from pangu_alpha.cluster.launching.hosts import SSH, ssh_words, start_host
from pangu_alpha.cluster.launching.job import Job, Task, ended_with_job, move_aside, next_attempt, start
from pangu_alpha.cluster.launching.node import Order
from pangu_alpha.cluster.launching.restarts import supervise
from pangu_alpha.cluster.patterns import check_host_name
from pangu_alpha.cluster.ports import free_port
from pangu_alpha.cluster.watching.exits import COMMAND
from pangu_alpha.cluster.watching.heartbeat import clear_heartbeats, last_step
from pangu_alpha.command_line import run_program
from pangu_alpha.config import RunConfig
from pangu_alpha.console import say
from pangu_alpha.errors import ClusterError, TrainingError
from pangu_alpha.locks import only_one
from pangu_alpha.reading import whole_number
from pangu_alpha.training.resuming import say_if_finished
from pangu_alpha.training.runnable import require_runnable

PORT = 8118
"""Of MindSpore's scheduler, as for `msrun`, when each server is started by hand and a free one cannot be agreed on."""
TRAIN = (sys.executable, "-m", "pangu_alpha.cli.main", "train")
SCHEDULER = "import mindspore; from mindspore.communication import init; mindspore.set_device('CPU'); init('mccl')"
"""What the scheduler process runs."""


@dataclass(frozen=True)
class Server:
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
    servers: tuple[Server, ...]
    """In the order of their first ranks."""
    rank_table: Path | None
    """What HCCL finds the cards by; None: they find each other through MindSpore's scheduler on the first server."""
    ssh: str | None
    """How the servers are reached, all of them; None: only `here` is started."""
    here: Server
    """The server that this machine is."""

    @property
    def is_whole(self) -> bool:
        """Whether this launcher starts the whole job."""
        return self.ssh is not None or len(self.servers) == 1

    @property
    def logs(self) -> Path:
        """Directory of the logs."""
        return self.config.output / "logs"

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
        ips = {server.address: _ip(server.address) for server in self.servers}
        first = self.servers[0].address
        if ips[first].startswith("127.") and not all(ip.startswith("127.") for ip in ips.values()):
            raise ClusterError(
                f"host {first} is {ips[first]} here, where no other server can reach it: name it by an address of its "
                "network card, or correct /etc/hosts"
            )
        return ips

    def tasks(self, server: Server, port: int) -> tuple[Task, ...]:
        """The processes of `server`.

        Args:
            port: of the scheduler, when there is one.
        """
        first, num_ranks = self.servers[0], self.num_ranks
        scheduler = None
        if self.rank_table is not None:
            environments = [rank_table_environment(card, num_ranks, self.rank_table) for card in server.cards]
        else:
            scheduler, ip = Scheduler(self.ips[first.address], port), self.ips[server.address]
            environments = [
                worker_environment(self.config.device, card, num_ranks, scheduler, ip) for card in server.cards
            ]
        tasks = [
            Task(f"rank {card.rank}", self.command, environments[index], index, len(server.cards))
            for index, card in enumerate(server.cards)
        ]
        if scheduler is not None and server is first:
            environment = scheduler_environment(num_ranks, scheduler)
            tasks.insert(0, Task("scheduler", (sys.executable, "-c", SCHEDULER), environment))
        return tuple(tasks)

    def shown(self, server: Server) -> Path | None:
        """The log of rank 0, for the server that has it."""
        return self.logs / "rank_0.log" if server is self.servers[0] else None


def add_launch_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what both launchers understand."""
    parser.add_argument(
        "--hosts", type=Path, metavar="FILE", help="start and follow all servers over ssh: one host a line"
    )
    parser.add_argument("--ssh", default=SSH, metavar="COMMAND", help="how servers are reached (default: %(default)s)")
    parser.add_argument(
        "--restarts",
        type=_count,
        default=0,
        metavar="N",
        help="after a failure, start again from the last good checkpoint, at most N times",
    )
    parser.add_argument("--dry-run", action="store_true", help="print every command and environment; start nothing")


def main(
    program: str,
    parser: argparse.ArgumentParser,
    make_plan: Callable[[argparse.Namespace], Plan],
    words: Sequence[str] | None = None,
) -> int:
    """Parse, plan and launch. Returns 0, 1 when a rank died, 2 for a wrong input, 128 + signal when stopped."""

    def work() -> int:
        arguments = parser.parse_args(words)
        plan = make_plan(arguments)
        require_runnable(plan.config, "mindspore", plan.num_ranks)
        if arguments.dry_run:
            print(describe(plan))
            return 0
        return launch(plan, arguments.restarts)

    return run_program(program, work)


def launch(plan: Plan, num_restarts: int) -> int:
    """Run the job, with restarts, and return its exit code: 0, 1 when a rank died, 128 + signal when stopped.

    Raises:
        ClusterError: a process or ssh cannot be started, or restarts are asked of one server among several.
        LockError: another launcher runs a job in the same output.
    """
    if num_restarts and not plan.is_whole:
        raise ClusterError(
            f"--restarts {num_restarts}: this launcher starts one of {len(plan.servers)} servers and cannot start the "
            "others again. Let it start all of them: --hosts FILE"
        )
    if say_if_finished(plan.config):
        return 0
    output = plan.config.output
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ClusterError(f"{output} cannot be written: {error}. Set output to a directory that can") from error
    # Servers that are started by hand have a launcher each.
    lock = output / (".launcher.lock" if plan.is_whole else f".launcher_{plan.servers.index(plan.here)}.lock")
    with only_one(lock, f"the run {output}", "set another output"):
        return _launch(plan, num_restarts)


def _launch(plan: Plan, num_restarts: int) -> int:
    requests: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: requests.append(number))

    def run_attempt(_attempt: int) -> int:
        try:
            if not requests:  # it may have come between two attempts
                _run_attempt(plan, requests)
        except TrainingError as error:
            say(f"the job failed: {error}\n`pangu diagnose {shlex.quote(str(plan.config.output))}` says more")
            return 128 + requests[0] if requests else error.exit_code
        return 128 + requests[0] if requests else 0

    return supervise(run_attempt, num_restarts, lambda: last_step(plan.config.output))


def describe(plan: Plan) -> str:
    """Every command and environment that `launch` would use, as shell commands, and what they leave out."""
    port = free_port() if plan.is_whole else PORT
    directory = shlex.quote(str(Path.cwd()))
    lines = [f"# {plan.num_ranks} ranks on {len(plan.servers)} server(s), working directory {directory}"]
    if plan.rank_table is None:
        lines.append(
            f"# port {port} is an example: every start takes a free one" if plan.is_whole else f"# port {port}"
        )
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


def _count(text: str) -> int:
    number = whole_number(text)
    if number is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return number


def _ip(address: str) -> str:
    try:
        return socket.gethostbyname(address.rpartition("@")[2])
    except OSError as error:
        raise ClusterError(
            f"host {address} is not known here ({error}): correct its name, or give its number"
        ) from error


def _run_attempt(plan: Plan, requests: list[int]) -> None:
    logs, servers = plan.logs, plan.servers if plan.ssh else (plan.here,)
    port = free_port() if plan.is_whole else PORT
    tasks = plan.tasks(plan.here, port)
    record = logs / _record_name(plan, plan.here)
    try:
        logs.mkdir(parents=True, exist_ok=True)
        if plan.is_whole:
            attempt = next_attempt(logs)
            move_aside([*logs.glob("*.log"), *logs.glob("exits*.json"), *logs.glob("ended*.json")], attempt)
            command = f"cd {shlex.quote(str(Path.cwd()))} && {shlex.join([sys.executable, *sys.argv])}\n"
            (logs / COMMAND).write_text(command, encoding="utf-8")
        else:  # other servers may have begun to write theirs
            attempt = next_attempt(logs, tasks[-1].log_name)
            move_aside([*(logs / task.log_name for task in tasks), record, ended_with_job(record)], attempt)
    except OSError as error:
        raise ClusterError(f"{logs} cannot be written: {error}. Set output to a directory that can") from error
    clear_heartbeats(plan.config.output, (card.rank for server in servers for card in server.cards))
    shown = ", and this is rank 0:" if plan.shown(servers[0]) else ""
    say(
        f"{plan.num_ranks} ranks on {len(plan.servers)} server(s), logs in {logs}; "
        f"`pangu status {shlex.quote(str(plan.config.output))}` shows what they do{shown}"
    )
    with Job(requests, None if plan.ssh else record) as job:
        if plan.ssh:
            for server in servers:
                job.members.append(start_host(server.address, _order(plan, server, port, attempt), plan.ssh, logs))
            job.watch(job.members[0].log)
        else:
            start(tasks, logs, job)
            job.watch(plan.shown(plan.here))


def _order(plan: Plan, server: Server, port: int, attempt: Path) -> Order:
    shown = plan.shown(server)
    return Order(
        directory=str(Path.cwd()),
        environment=forwarded_environment(),
        tasks=plan.tasks(server, port),
        logs=str(plan.logs),
        attempt=str(attempt),
        record=str(plan.logs / _record_name(plan, server)),
        shown=None if shown is None else str(shown),
    )


def _record_name(plan: Plan, server: Server) -> str:
    return "exits.json" if len(plan.servers) == 1 else f"exits_{server.address}.json"
