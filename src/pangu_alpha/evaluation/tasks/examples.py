"""Which items are measured, and which are worked examples: functions of a stated seed and of names, nothing else."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from pangu_alpha.errors import DataError
from pangu_alpha.evaluation.tasks.task import Item, Task

MAX_EXAMPLES = 5
"""Where a task takes as many as have room (the reproduction's `up to 5`)."""


def draw(seed: int, *names: object) -> random.Random:
    """A generator that depends on its arguments only, not on the order of calls, the platform or the process."""
    return random.Random("|".join(map(str, (seed, *names))))


def negatives(truth: str, others: Sequence[str], number: int, generator: random.Random) -> tuple[tuple[str, ...], int]:
    """`truth` among `number` of the `others`, shuffled: the choices, and where the truth is."""
    choices = [truth, *generator.sample(sorted(set(others) - {truth}), number)]
    generator.shuffle(choices)
    return tuple(choices), choices.index(truth)


def sample(items: Sequence[Item], limit: int | None, seed: int) -> list[Item]:
    """`limit` of the items in their order; all where there are no more."""
    if limit is None or limit >= len(items):
        return list(items)
    chosen = sorted(draw(seed, "items").sample(range(len(items)), limit))
    return [items[place] for place in chosen]


def choose_examples(task: Task, items: Sequence[Item], number: int | None, seed: int) -> dict[str, list[Item]]:
    """`number` examples for each group; for all items alike, under the key "", unless the task wants its own.

    Raises:
        DataError: there are not enough.
    """
    if number == 0:
        return {"": []}
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.group if task.shots_by_group else ""].append(item)
    wanted = MAX_EXAMPLES if number is None else number
    chosen = {}
    for group, members in groups.items():
        if len(members) < wanted and number is not None:
            which = f" about {group}" if group else ""
            raise DataError(
                f"{task.name}: {wanted} worked examples are wanted, but its {task.shot_split} split has "
                f"{len(members)} item(s){which}: ask for fewer with {task.name}.few={max(len(members), 1)}"
            )
        order = list(members)
        draw(seed, task.name, "examples", group).shuffle(order)
        chosen[group] = (_take_turns(order) if task.balanced else order)[:wanted]
    return chosen


def _take_turns(items: Sequence[Item]) -> list[Item]:
    """The items so that their truths take turns, each truth's own in the order in which they come."""
    waiting: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        waiting[item.truth].append(item)
    turns = []
    while waiting:
        for truth in list(waiting):
            turns.append(waiting[truth].pop(0))
            if not waiting[truth]:
                del waiting[truth]
    return turns
