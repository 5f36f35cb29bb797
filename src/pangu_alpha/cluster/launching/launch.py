"""Starting the job of a plan, following it to its end, and starting it again after a failure."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path

from pangu_alpha.cluster.launching.environment import forwarded_environment
from pangu_alpha.cluster.launching.hosts import start_host
from pangu_alpha.cluster.launching.job import Job, ended_with_job, move_aside, next_attempt, start
from pangu_alpha.cluster.launching.node import Order
from pangu_alpha.cluster.launching.plan import PANGU, PORT, JobServer, Plan
from pangu_alpha.cluster.launching.restarts import supervise
from pangu_alpha.cluster.ports import free_port
from pangu_alpha.cluster.watching.exits import COMMAND
from pangu_alpha.cluster.watching.heartbeat import clear_heartbeats, last_step
from pangu_alpha.console import say
from pangu_alpha.errors import ClusterError, TrainingError
from pangu_alpha.locks import only_one
from pangu_alpha.training.resuming import say_if_finished


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
            command = f"cd {shlex.quote(str(Path.cwd()))} && {shlex.join([*PANGU, *sys.argv[1:]])}\n"
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


def _order(plan: Plan, server: JobServer, port: int, attempt: Path) -> Order:
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


def _record_name(plan: Plan, server: JobServer) -> str:
    return "exits.json" if len(plan.servers) == 1 else f"exits_{server.address}.json"
