"""What all hosts of a job found, in one list, and what differs between them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from pangu_alpha.cluster.preflight.finding import Finding, bad, ok, skipped
from pangu_alpha.cluster.preflight.hosts import Answer, Silence
from pangu_alpha.topology.mesh import Mesh

MAX_CLOCK_DIFFERENCE = 1.0
"""Seconds."""
_NUM_NAMES = 4
"""Hosts that are named before "and N more"."""
_FIXES = {
    "versions": "install the same requirements.txt and the same pangu-alpha on the hosts that differ",
    "job": "copy the recipe, the rank table and the data to the hosts that differ",
    "devices": "install the same Ascend driver on the hosts that differ",
}


def summarise(answers: Sequence[Answer | Silence], mesh: Mesh) -> list[Finding]:
    """The findings of all hosts in one list, equal ones once, and after them what differs between the hosts.

    Args:
        answers: of all hosts of the job.
        mesh: the recipe's, which the NPUs of all hosts must fill when no rank table chooses among them.
    """
    good = [answer for answer in answers if isinstance(answer, Answer)]
    silent = [answer for answer in answers if isinstance(answer, Silence)]
    findings = [bad(f"host {host.address}", host.reason, f"`ssh {host.address} true` must work") for host in silent]
    if not silent:
        findings.append(ok("hosts", f"{len(good)} answered"))
    findings += _merge(good)
    if good:
        findings += [_compare(family, good) for family in _FIXES] + [_host_names(good), _clocks(good)]
        findings += _num_devices(good, mesh)
    return findings


def _merge(answers: Sequence[Answer]) -> list[Finding]:
    found: dict[str, dict[Finding, list[str]]] = {}
    for answer in answers:
        for finding in answer.report.findings:
            found.setdefault(finding.what, {}).setdefault(finding, []).append(answer.address)
    merged = []
    for what, by_finding in found.items():
        for finding, hosts in by_finding.items():
            if finding.state == "bad":
                where = "all hosts" if len(hosts) == len(answers) else _names(hosts)
                merged.append(bad(what, f"{finding.found} (on {where})", finding.fix))
        rest = {finding: hosts for finding, hosts in by_finding.items() if finding.state != "bad"}
        if rest:
            first = next(iter(rest))
            others = sum(map(len, rest.values())) - len(rest[first])
            merged.append(
                Finding(what, first.state, first.found + (f" (and {others} hosts like it)" if others else ""))
            )
    return merged


def _compare(family: str, answers: Sequence[Answer]) -> Finding:
    names = {name: None for answer in answers for name in answer.report.facts[family]}
    differences = []
    for name in names:
        hosts_of: dict[str, list[str]] = {}
        for answer in answers:
            hosts_of.setdefault(answer.report.facts[family].get(name, "none"), []).append(answer.address)
        if len(hosts_of) > 1:
            values = sorted(hosts_of.items(), key=lambda item: -len(item[1]))
            differences.append(f"{name} is " + ", ".join(f"{value} on {_names(hosts)}" for value, hosts in values))
    if differences:
        return bad(f"same {family}", "; ".join(differences), _FIXES[family])
    return ok(f"same {family}", ", ".join(names))


def _host_names(answers: Sequence[Answer]) -> Finding:
    what = "host names"
    namesakes: dict[str, list[Answer]] = {}
    for answer in answers:
        namesakes.setdefault(answer.report.host, []).append(answer)
    twice = {name: same for name, same in namesakes.items() if len(same) > 1}
    clashes = [
        f"{name} is the name of {_names([answer.address for answer in same])}"
        for name, same in twice.items()
        if len({answer.report.boot for answer in same}) > 1
    ]
    if clashes:
        return bad(
            what, "; ".join(clashes), "`hostnamectl set-hostname` on all but one: MindSpore tells them apart by it"
        )
    if twice:
        same = next(iter(twice.values()))
        return skipped(what, f"{_names([answer.address for answer in same])} are one machine")
    return ok(what, "distinct")


def _clocks(answers: Sequence[Answer]) -> Finding:
    what = "clocks"
    behind = min(answers, key=lambda answer: answer.clock[1])
    ahead = max(answers, key=lambda answer: answer.clock[0])
    difference = ahead.clock[0] - behind.clock[1]
    if difference <= MAX_CLOCK_DIFFERENCE:
        round_trip = max(answer.clock[1] - answer.clock[0] for answer in answers)
        return ok(what, f"within {max(difference, 0.0) + round_trip:.2f} s of each other")
    middle = statistics.median(sum(answer.clock) / 2 for answer in answers)
    off = [answer.address for answer in answers if abs(sum(answer.clock) / 2 - middle) > MAX_CLOCK_DIFFERENCE / 2]
    found = f"{ahead.address} is {difference:.1f} s ahead of {behind.address}"
    return bad(what, found, f"start an NTP client (`systemctl enable --now chronyd`) on {_names(off)}")


def _num_devices(answers: Sequence[Answer], mesh: Mesh) -> list[Finding]:
    total = sum(int(answer.report.facts["devices"]["number of NPUs"]) for answer in answers)
    if total in (0, mesh.num_ranks) or any(answer.report.facts["job"]["rank table"] != "none" for answer in answers):
        return []
    found = f"{mesh} = {mesh.num_ranks}, but {len(answers)} hosts have {total} NPUs"
    return [bad("NPUs of all hosts", found, "change the mesh or the hosts, or choose devices with a rank table")]


def _names(hosts: Sequence[str]) -> str:
    shown = ", ".join(hosts[:_NUM_NAMES])
    return shown if len(hosts) <= _NUM_NAMES else f"{shown} and {len(hosts) - _NUM_NAMES} more"
