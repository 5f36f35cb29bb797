from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import pytest

from pangu_alpha.cluster.preflight.comparison import summarise
from pangu_alpha.cluster.preflight.finding import Finding, bad, ok, skipped
from pangu_alpha.cluster.preflight.hosts import Answer, Silence
from pangu_alpha.cluster.preflight.report import Report
from pangu_alpha.topology.mesh import Mesh

MESH = Mesh(dp=4, mp=1, pp=1)


def _answer(address: str, clock: tuple[float, float] = (0.0, 0.01), findings: Sequence[Finding] = ()) -> Answer:
    facts = {
        "versions": {"Python": "3.11.7", "mindspore": "2.10.0"},
        "job": {"recipe": "c506b32d6b2f", "training data": "0123456789abcdef", "rank table": "none"},
        "devices": {"NPU driver": "24.1.1", "number of NPUs": "1"},
    }
    return Answer(address, Report(f"name-of-{address}", f"boot-of-{address}", list(findings), facts), clock)


def _with_fact(answer: Answer, family: str, name: str, value: str) -> Answer:
    facts = copy.deepcopy(answer.report.facts)
    facts[family][name] = value
    return replace(answer, report=replace(answer.report, facts=facts))


def _bad(answers: Sequence[Answer | Silence]) -> list[Finding]:
    return [finding for finding in summarise(answers, MESH) if finding.state == "bad"]


@pytest.fixture
def four() -> list[Answer]:
    return [_answer(f"node{i}") for i in range(4)]


def test_hosts_that_agree(four: list[Answer]) -> None:
    findings = summarise(four, MESH)
    assert {finding.state for finding in findings} == {"ok"}
    assert [finding.what for finding in findings][-5:] == [
        "same versions",
        "same job",
        "same devices",
        "host names",
        "clocks",
    ]


@pytest.mark.parametrize(
    ("family", "name", "value"),
    [
        ("versions", "mindspore", "2.9.0"),
        ("job", "recipe", "ffffffffffff"),
        ("job", "training data", "ffffffffffffffff"),
        ("devices", "NPU driver", "23.0.6"),
    ],
)
def test_what_differs_is_named_with_the_host(four: list[Answer], family: str, name: str, value: str) -> None:
    four[2] = _with_fact(four[2], family, name, value)
    (finding,) = _bad(four)
    assert finding.what == f"same {family}"
    assert f"{name} is " in finding.found
    assert f"{value} on node2" in finding.found
    assert "node0, node1, node3" in finding.found


def test_two_machines_of_one_name(four: list[Answer]) -> None:
    four[3] = replace(four[3], report=replace(four[3].report, host="name-of-node1"))
    (finding,) = _bad(four)
    assert finding.found == "name-of-node1 is the name of node1, node3"
    # One machine under two addresses is no mistake: a cluster that is simulated.
    four[3] = replace(four[3], report=four[1].report)
    assert not _bad(four)
    assert summarise(four, MESH)[-2] == skipped("host names", "node1, node3 are one machine")


def test_clocks(four: list[Answer]) -> None:
    four[1] = replace(four[1], clock=(0.9, 0.95))
    assert not _bad(four)
    # The answer took 2 s: the clock may be right.
    four[1] = replace(four[1], clock=(-0.5, 1.5))
    assert not _bad(four)
    four[1] = replace(four[1], clock=(-1.3, -1.2))
    (finding,) = _bad(four)
    assert finding.found == "node0 is 1.2 s ahead of node1"
    assert finding.fix.endswith("on node1")


def test_the_npus_of_all_hosts_must_fill_the_mesh(four: list[Answer]) -> None:
    (finding,) = _bad(four[:3])
    assert "dp(4) × mp(1) × pp(1) = 4, but 3 hosts have 3 NPUs" in finding.found
    assert not _bad([_with_fact(answer, "job", "rank table", "e3b0c44298fc") for answer in four[:3]])


def test_equal_findings_are_one_line() -> None:
    full = bad("disk", "1GB free at /data, 2TB needed", "free space")
    answers = [_answer(f"node{i}", findings=[full if i % 2 else ok("disk", f"{i}TB free")]) for i in range(12)]
    lines = [finding for finding in summarise(answers, Mesh(dp=12, mp=1, pp=1)) if finding.what == "disk"]
    assert lines == [
        bad("disk", f"{full.found} (on node1, node3, node5, node7 and 2 more)", full.fix),
        ok("disk", "0TB free (and 5 hosts like it)"),
    ]


def test_a_host_without_an_answer_is_named(four: list[Answer]) -> None:
    (finding,) = _bad([*four, Silence("node9", "ssh: connect to host node9 port 22: Connection refused")])
    assert finding.what == "host node9"
    assert "refused" in finding.found
