"""What does the launcher cost on 256 servers? Simulated: all servers are this machine, reached by a stand-in for ssh.

Measured against a shell loop that starts the same processes over the same ssh and watches nothing, as the launch
scripts of the published code do: the time until all ranks run. Then one rank is killed: the time until the launcher has
named it and nothing runs any more, which the shell loop never does. On a real cluster every server starts its own eight
ranks; here two cores start all of them, so both times are far above a cluster's and only the ratio means something.

    python benchmarks/launch_hosts.py [--hosts 256] [--cards 8]
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from multiprocessing import get_context
from pathlib import Path

from pangu_alpha.cluster.launching.environment import Card
from pangu_alpha.cluster.launching.launch import launch
from pangu_alpha.cluster.launching.plan import JobServer, Plan
from pangu_alpha.config import load_config

SSH = str(Path(__file__).parents[1] / "tests" / "stand_in" / "ssh")
RANK = ("sh", "-c", "echo $$ > started/$RANK_ID; exec sleep 1000")


def main() -> None:
    parser = argparse.ArgumentParser(description="What does the launcher cost on 256 servers?")
    parser.add_argument("--hosts", type=int, default=256)
    parser.add_argument("--cards", type=int, default=8)
    arguments = parser.parse_args()
    num_ranks = arguments.hosts * arguments.cards
    servers = tuple(
        JobServer(
            f"127.0.{1 + host // 250}.{1 + host % 250}",
            tuple(Card(host * arguments.cards + i, i) for i in range(arguments.cards)),
        )
        for host in range(arguments.hosts)
    )
    print(f"{arguments.hosts} servers × {arguments.cards} cards = {num_ranks} ranks on {os.cpu_count()} cores")
    loop = _in_scratch(lambda: _shell_loop(servers), num_ranks, kill=False)[0]
    print(f"shell loop: all ranks run after {loop:.1f} s")
    started, ended = _in_scratch(lambda: _launch(servers), num_ranks, kill=True)
    print(f"launcher:   all ranks run after {started:.1f} s; {ended:.1f} s after a rank was killed nothing runs")
    print(f"launcher ÷ shell loop = {started / loop:.2f}")


def _launch(servers: tuple[JobServer, ...]) -> None:
    config = load_config("200b_2048", [f"output={Path.cwd() / 'run'}"])
    plan = Plan(config, RANK, servers, ssh=SSH, here=servers[0])
    with Path(os.devnull).open("w") as nothing, redirect_stderr(nothing):
        sys.exit(launch(plan, 0))


def _shell_loop(servers: tuple[JobServer, ...]) -> None:
    for server in servers:
        ranks = "".join(f"RANK_ID={card.rank} {shlex.join(RANK)} & " for card in server.cards)
        subprocess.Popen([SSH, server.address, f"cd {Path.cwd()}; {ranks} wait"], stderr=subprocess.DEVNULL)


def _in_scratch(start: Callable[[], None], num_ranks: int, kill: bool) -> tuple[float, float]:
    """Seconds until `start` has all ranks running, and from the death of one to the end of all."""
    folder = Path(tempfile.mkdtemp(prefix="launch_hosts_"))
    os.chdir(folder)
    (folder / "started").mkdir()
    begin = time.monotonic()
    leader = get_context("fork").Process(target=start)
    leader.start()
    while sum(1 for _ in Path("started").iterdir()) < num_ranks:
        assert leader.is_alive() or not kill, "the launcher has ended"
        time.sleep(0.02)
    started = time.monotonic() - begin
    processes = [int(path.read_text() or 0) for path in Path("started").iterdir()]
    begin = time.monotonic()
    if kill:
        os.kill(processes[num_ranks // 2], signal.SIGKILL)
        leader.join()
        while any(Path(f"/proc/{process}").exists() for process in processes):
            time.sleep(0.02)
    else:
        for process in processes:
            os.kill(process, signal.SIGKILL)
        leader.join()
    ended = time.monotonic() - begin
    os.chdir("/")
    shutil.rmtree(folder)
    return started, ended


if __name__ == "__main__":
    main()
