"""Seconds: what an operator takes on a chip, and a collective on the links that its group crosses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from pangu_alpha.config.sections import ComputeDtype
from pangu_alpha.planner.communication import Message
from pangu_alpha.planner.crossings import Crossing
from pangu_alpha.planner.hardware import Hardware, Link
from pangu_alpha.planner.operators import Operator
from pangu_alpha.planner.placement import PlacedHardware
from pangu_alpha.topology.mesh import Axis, Mesh

Direction = Literal["forward", "backward"]


def operator_seconds(operator: Operator, direction: Direction, hardware: Hardware, dtype: ComputeDtype) -> float:
    """One execution: operations at their rate or bytes at theirs, whichever takes longer (roofline; Williams 2009).

    The backward pass includes what it computes again.
    """
    if direction == "forward":
        return _seconds(operator.forward_flops, operator.forward_bytes, 1, operator.is_product, hardware, dtype)
    backward = _seconds(operator.backward_flops, operator.backward_bytes, 2, operator.is_product, hardware, dtype)
    again = operator_seconds(operator, "forward", hardware, dtype) if operator.is_recomputed else 0.0
    return backward + again


def _seconds(
    flops: int, num_bytes: int, number: int, is_product: bool, hardware: Hardware, dtype: ComputeDtype
) -> float:
    """`number` equal products together, or one elementwise operator."""
    reached = hardware.efficiency
    moving = num_bytes / (hardware.memory_gb_per_s * 1e9 * reached.memory)
    if not is_product:
        return moving * reached.fused
    each = flops / number
    share = reached.products * each / (each + reached.half_gflop * 1e9)
    return max(flops / (hardware.peak(dtype) * share), moving)


def update_seconds(num_parameters: int, num_gradients: int, hardware: Hardware) -> float:
    """AdamW on one device: weight and both moments read and written, the gradient read three times (norm, scaling,
    update) and written once; sums of gradients read and cleared."""
    num_bytes = 4 * (6 + 4) * num_parameters + 4 * 2 * num_gradients
    return num_bytes / (hardware.memory_gb_per_s * 1e9 * hardware.efficiency.memory)


def message_seconds(message: Message, mesh: Mesh, hardware: Hardware) -> float:
    """A collective, level by level: near links carry the whole, each level above only a share of it.

    AllGather and ReduceScatter of n devices send (n - 1) ÷ n of the tensor, an AllReduce twice that (Thakur et al.
    2005). Where a group spans levels, the members of a near group first share the tensor among them, so that each
    sends its part alone over the next level. Where it is known which devices share a server or a rack, the slowest of
    the groups counts, as each of them lies there.
    """
    if message.kind in ("Send", "Receive"):
        return max(
            message.count * link.latency_us * 1e-6 + message.num_bytes / (link.gb_per_s * 1e9)
            for link in _between_stages(mesh, hardware)
        )
    twice = 2 if message.kind == "AllReduce" else 1
    if isinstance(hardware, PlacedHardware):
        groups = hardware.units.crossings(message.axes, mesh)
        return twice * max(_seconds_across(message, group, hardware.links) for group in groups)
    seconds, share = 0.0, 1.0
    for link, members in _levels(message.axes, mesh, hardware):
        sent = message.num_bytes * share * (members - 1) / members
        seconds += sent / (link.gb_per_s * 1e9) + message.count * (members - 1) * link.latency_us * 1e-6
        share /= members
    return twice * seconds


def _seconds_across(message: Message, crossings: Sequence[Crossing], links: Sequence[Link]) -> float:
    seconds = 0.0
    for crossing in crossings:
        link = links[crossing.level]
        sent = message.num_bytes * crossing.share
        seconds += sent / (link.gb_per_s * 1e9) + message.count * crossing.steps * link.latency_us * 1e-6
    return seconds


def _levels(axes: tuple[Axis, ...], mesh: Mesh, hardware: Hardware) -> Iterator[tuple[Link, int]]:
    """The links that a group crosses, with how many groups of the level below each joins.

    Ranks are numbered stage by stage, then replica by replica: the group of an axis has every `stride`-th rank.
    """
    stride = {"mp": 1, "dp": mesh.mp, "pp": mesh.num_stage_ranks}[axes[-1]]
    size = 1
    for axis in axes:
        size *= mesh.size(axis)
    inside = 1
    for link in hardware.links:
        reached = min(size, max(1, link.devices // stride))
        members = -(-reached // inside)
        if members > 1:
            yield link, members
            inside = reached


def _between_stages(mesh: Mesh, hardware: Hardware) -> Sequence[Link]:
    """The links between a device and the same place of the next stage: of all stages, for the slowest is waited for."""
    if isinstance(hardware, PlacedHardware):
        return [hardware.links[level] for level in hardware.units.hops(mesh)]
    near, far = 2 * mesh.num_stage_ranks, mesh.num_ranks
    inside = [link for link in hardware.links if near <= link.devices < far]
    return [*inside, next((link for link in hardware.links if link.devices >= far), hardware.links[-1])]
