"""Rank tables of the `group_list` form, CANN's "template 2": what ModelArts and older Kubernetes operators write.

There are two of them, which CANN tells apart by `deploy_mode`. Without it instances are pods, and CANN numbers the
ranks itself: servers in the dictionary order of their ids, on a server by device. With it every instance is one device
and says its rank. Source: the user guide of HCCL, "rank table configuration (Atlas training product)", and its parser.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pangu_alpha.cluster.rank_tables.formats import GroupForm, GroupsForm, Problem

_REMAKE = "let the platform write the table again"


@dataclass(frozen=True)
class GroupedDevice:
    """A device of a group."""

    server_id: str
    device_id: int
    device_ip: str | None
    pod_name: str | None
    said_rank: int | None
    """What the file says, if anything."""
    rank_id: int
    """What CANN makes of it."""


def cards_of(form: GroupsForm) -> list[GroupedDevice]:
    """All devices with their ranks, servers in the order of their first ranks."""
    cards = []
    for group in form.group_list:
        for instance in group.instance_list:
            for device in instance.devices:
                said = device.rank_id or instance.rank_id
                rank = None if said is None else int(said)
                cards.append(
                    GroupedDevice(
                        instance.server_id, int(device.device_id), device.device_ip, instance.pod_name, rank, 0
                    )
                )
    cards.sort(key=lambda card: (card.server_id, card.device_id))
    by_file = form.deploy_mode is not None and all(card.said_rank is not None for card in cards)
    ranked = [replace(card, rank_id=(card.said_rank or 0) if by_file else i) for i, card in enumerate(cards)]
    return sorted(ranked, key=lambda card: card.rank_id)


def find_group_problems(form: GroupsForm) -> list[Problem]:
    """What is wrong with the counts, the names and the ranks of the groups."""
    problems = [*_wrong_count("group_count", form.group_count, "group_list", len(form.group_list))]
    for number, group in enumerate(form.group_list):
        problems += _group_problems(group, f"group_list[{number}]", form.deploy_mode is not None)
    pods = Counter(instance.pod_name for group in form.group_list for instance in group.instance_list)
    problems += [
        Problem(f"pod {pod} is listed {number} times", "pod_name", _REMAKE)
        for pod, number in pods.items()
        if pod is not None and number > 1
    ]
    if form.deploy_mode is None:
        problems += _ranks_that_cann_ignores(form)
    elif form.others().get("para_plane_nic_location") != "device":
        what = f"is {form.others().get('para_plane_nic_location')!r}, and HCCL takes only 'device'"
        problems.append(Problem(what, "para_plane_nic_location", 'write "device"'))
    return problems


def _group_problems(group: GroupForm, where: str, says_ranks: bool) -> Iterator[Problem]:
    instances = group.instance_list
    num_devices = sum(len(instance.devices) for instance in instances)
    yield from _wrong_count(f"{where}.instance_count", group.instance_count, "instance_list", len(instances))
    key = "device_num" if says_ranks else "device_count"
    yield from _wrong_count(f"{where}.{key}", getattr(group, key), "instance_list", num_devices)
    if says_ranks:
        num_servers = len({instance.server_id for instance in instances})
        yield from _wrong_count(f"{where}.server_num", group.server_num, "instance_list", num_servers)
    for number, instance in enumerate(instances):
        place = f"{where}.instance_list[{number}]"
        if not says_ranks and instance.pod_name is None:
            yield Problem("is missing: CANN finds a process's rank by it", f"{place}.pod_name", _REMAKE, "pod_name")
        if says_ranks and instance.rank_id is None:
            what = "is missing, and with deploy_mode every instance says its rank"
            yield Problem(what, f"{place}.rank_id", "add it, or remove deploy_mode", "rank_id")
        if says_ranks and len(instance.devices) != 1:
            what = f"has {len(instance.devices)} devices, and with deploy_mode an instance is one rank"
            yield Problem(what, f"{place}.devices", "make an instance of each device", "devices")


def _wrong_count(where: str, said: str | None, listed: str, found: int) -> Iterator[Problem]:
    if said is None:
        yield Problem("is missing", where, f'write "{found}", in quotes')
    elif int(said) != found:
        yield Problem(f"says {said}, and {listed} has {found}", where, f"write {found}, or complete the list")


def _ranks_that_cann_ignores(form: GroupsForm) -> Iterator[Problem]:
    for card in cards_of(form):
        if card.said_rank not in (None, card.rank_id):
            what = (
                f"rank_id is {card.said_rank}, but without deploy_mode CANN ignores it and numbers the devices by "
                f"server and device: {card.rank_id}"
            )
            yield Problem(what, f"server {card.server_id}, device {card.device_id}", "remove rank_id", "ignored rank")
