"""Refuses what has no meaning here, before anything runs: an unknown primitive or attribute is never guessed."""

from __future__ import annotations

from collections.abc import Iterator

from pangu_alpha.emulator.collectives import COLLECTIVE_SETTINGS
from pangu_alpha.emulator.kernels import IGNORED_ATTRIBUTES, KERNELS
from pangu_alpha.errors import EmulatorError
from pangu_alpha.program.flow import CONTROL
from pangu_alpha.program.graph import Node, Program

COMMUNICATION: dict[str, tuple[str, ...]] = {
    **COLLECTIVE_SETTINGS,
    "Send": ("dest_rank", "sr_tag"),
    "Receive": ("src_rank", "sr_tag"),
}
"""Attributes that each communication needs, besides its group."""
_REPEATED = frozenset(
    {"dst_global_rank", "dtype", "group_rank_ids", "rank_list", "rank_size", "shape", "split_count", "src_global_rank"}
)
"""Attributes of a communication that repeat its group or its input's type."""


def check_known(program: Program) -> None:
    """Raise EmulatorError with every primitive and attribute that has no meaning here."""
    problems: dict[str, Node] = {}
    for node in program.nodes():
        for problem in _problems(node):
            problems.setdefault(problem, node)
    if problems:
        lines = "\n".join(f"  {problem}, first at {node.scope or node.output}" for problem, node in problems.items())
        raise EmulatorError(f"{program.path} cannot be executed:\n{lines}\nteach it to emulator/kernels/")


def _problems(node: Node) -> Iterator[str]:
    kernel = KERNELS.get(node.primitive)
    if kernel is not None:
        needed, known, only = {*kernel.attributes}, IGNORED_ATTRIBUTES, kernel.only
    elif node.primitive in COMMUNICATION:
        needed = {"group", *COMMUNICATION[node.primitive]}
        known, only = IGNORED_ATTRIBUTES | _REPEATED, {"mean_flag": False, "with_mirror_operator": False}
    elif node.primitive in CONTROL:
        needed, known, only = set(), IGNORED_ATTRIBUTES, {}
    else:
        yield f"no kernel is known for the primitive {node.primitive}"
        return
    for name in needed - set(node.attributes):
        yield f"{node.primitive} lacks the attribute {name}"
    for name, value in node.attributes.items():
        if name not in needed | known and (name not in only or value != only[name]):
            yield f"the attribute {name} = {value!r} of {node.primitive} is not known"
