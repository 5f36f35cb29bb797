from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pangu_alpha.cluster.preflight.hosts import Answer, Silence, ask_hosts
from pangu_alpha.errors import ClusterError

# Runs the script here. The clock of `slow` is 3 s behind, `gone` cannot be reached, `bare` has no such directory.
SSH = """\
#!/bin/bash
while [[ $1 == -o ]]; do shift 2; done
[[ $1 == -- ]] && shift
host=$1 script=$2
printf "Welcome to $host \\377\n"
case $host in
gone) echo "ssh: connect to host gone port 22: No route to host" >&2; exit 255;;
bare) script=${script/cd /cd /nowhere};;
slow) script="date() { command date -d '-3 seconds' +%s.%N; }; $script";;
esac
exec bash -c "$script"
"""


def test_every_host_answers_or_says_why_not(tiny_project: Any, executable: Any, monkeypatch: Any) -> None:
    executable("ssh", SSH)
    monkeypatch.chdir(tiny_project.folder)
    monkeypatch.setenv("HCCL_CONNECT_TIMEOUT", "5")
    counted: list[float] = []
    words = ["recipe.yaml", f"output={Path.cwd()}/run"]
    here, slow, gone, bare = ask_hosts(["here", "slow", "gone", "bare"], words, "ssh -o BatchMode=yes", counted.append)
    assert counted == [1, 1, 1, 1]
    assert isinstance(here, Answer)
    assert isinstance(slow, Answer)
    assert -0.5 < here.clock[0] <= 0 <= here.clock[1] < 0.5
    assert slow.clock[0] <= -3 <= slow.clock[1] < -2.5
    assert here.report.facts["job"]["recipe"] == slow.report.facts["job"]["recipe"]
    (bad,) = [finding for finding in here.report.findings if finding.state == "bad"]
    assert "HCCL_CONNECT_TIMEOUT=5" in bad.found  # the launching shell's variables go with the job
    assert gone == Silence("gone", "ssh: connect to host gone port 22: No route to host")
    assert isinstance(bare, Silence)
    assert "/nowhere" in bare.reason


def test_without_ssh() -> None:
    with pytest.raises(ClusterError, match="--ssh"):
        ask_hosts(["here"], ["tiny_cpu"], "/nowhere/ssh", lambda _: None)
