"""What a task is: where its items come from, how one is put into words, and how the answer is scored."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pangu_alpha.errors import ConfigError
from pangu_alpha.evaluation.tasks.data_files import DataFile

Method = Literal["choice", "generation", "perplexity"]
"""choice: the candidate of least loss. generation: free text, compared with references. perplexity: of one word."""
Metric = Literal["accuracy", "word", "em_f1", "rouge", "perplexity"]
Shots = Literal["0", "1", "few"]


@dataclass(frozen=True)
class Item:
    """One question of a data set, or one worked example."""

    id: str
    """Names it in its data set."""
    fields: Mapping[str, str]
    """What the template speaks of. `passage`, `left` and `right` may be long, and are the ones that get shortened."""
    choices: tuple[str, ...] = ()
    """What `{choice}` can be; none where the answer is free text."""
    answer: int = 0
    """Place of the truth in `choices`."""
    references: tuple[str, ...] = ()
    """Right answers in free text, at least one where there are no choices."""
    group: str = ""
    """Items that belong together: a passage with several blanks, a subject."""

    @property
    def truth(self) -> str:
        """What a worked example says."""
        return self.choices[self.answer] if self.choices else self.references[0]


@dataclass(frozen=True)
class Task:
    """A task. Everything that can be disputed is a field, so that `TASK.FIELD=VALUE` replaces it.

    Raises:
        ConfigError: a value outside its range.
    """

    name: str
    title: str
    """As in Tables 9 and 10."""
    category: str
    method: Method
    metric: Metric
    context: str
    """Template of what is read and not scored."""
    scored: str
    """Template of what is scored; in a generation task what a worked example ends with."""
    read: Callable[[Sequence[DataFile]], Iterator[Item]] = field(repr=False)
    """The files of a split → its items."""
    splits: Mapping[str, tuple[str, ...]]
    """Patterns of the published files' names, by split; all files of the first pattern that any has are read."""
    split: str
    """Which one is measured."""
    few: int
    """Worked examples of few-shot; 0: as many as have room."""
    licence: str
    source: str
    """Where the data set is published."""
    folder: str = ""
    """What the name of the data set's own folder or zip begins with; empty: the task's name."""
    num_choices: int = 0
    """The truth and so many less one random others, drawn for each item; 0: all choices."""
    one_to_one: bool = False
    """Whether items of a group share their choices, so that giving each choice to one of them is a measure, too."""
    shot_split: str = "train"
    """Where worked examples come from; the measured split itself: its examples are then not measured."""
    shots_by_group: bool = False
    """Whether an item's examples come from its own group."""
    balanced: bool = False
    """Whether the answers of the examples take turns."""
    shot_length: int = 0
    """Characters of a long field in a worked example; 0: all."""
    separator: str = "\n"
    """After each worked example."""
    max_new_tokens: int = 32
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    stop: str = "\n"
    """The continuation counts up to here."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Where a field's value comes from, and what else is said of it."""

    def __post_init__(self) -> None:
        ranges = (
            ("num_choices", self.num_choices == 0 or self.num_choices >= 2, "0 (all), or 2 or more"),
            ("few", self.few >= 0, "0 (as many as have room) or more"),
            ("shot_length", self.shot_length >= 0, "0 (whole) or more"),
            ("max_new_tokens", self.max_new_tokens >= 1, "at least 1"),
            ("temperature", 0.0 <= self.temperature < math.inf, "0 (greedy) or more"),
            ("top_k", self.top_k >= 0, "0 (all) or more"),
            ("top_p", 0.0 < self.top_p <= 1.0, "above 0 and at most 1"),
            ("split", self.split in self.splits, f"one of {', '.join(self.splits)}"),
            ("shot_split", self.shot_split in self.splits, f"one of {', '.join(self.splits)}"),
        )
        for name, is_valid, allowed in ranges:
            if not is_valid:
                raise ConfigError(f"{self.name}.{name} is {getattr(self, name)}, but it must be {allowed}")

    def num_shots(self, shots: Shots) -> int | None:
        """Worked examples before each question; None: as many as have room."""
        return {"0": 0, "1": 1, "few": self.few or None}[shots]

    def settings(self) -> dict[str, object]:
        """The fields that decide a score, as JSON has them."""
        return {name: getattr(self, name) for name in SETTINGS}


SETTINGS = (
    "context", "scored", "split", "num_choices", "few", "shot_split", "balanced", "shot_length", "separator",
    "max_new_tokens", "temperature", "top_k", "top_p", "stop",
)  # fmt: skip
"""The fields of a task that a user may replace."""
_KINDS: dict[str, type] = {
    **dict.fromkeys(("few", "num_choices", "shot_length", "max_new_tokens", "top_k"), int),
    **dict.fromkeys(("temperature", "top_p"), float),
}


def with_setting(task: Task, name: str, text: str) -> Task:
    """`task` with the field `name` set to what `text` says.

    Raises:
        ConfigError: there is no such setting, or `text` is not a value of it.
    """
    if name not in SETTINGS:
        near = difflib.get_close_matches(name, SETTINGS, 1)
        hint = f"did you mean {near[0]}?" if near else f"a task has {', '.join(SETTINGS)}"
        raise ConfigError(f"{task.name}.{name} is no setting: {hint}")
    value: Any = text.replace("\\n", "\n")
    if name == "balanced":
        if text not in ("true", "false"):
            raise ConfigError(f"{task.name}.balanced={text}: write true or false")
        value = text == "true"
    elif name in _KINDS:
        try:
            value = _KINDS[name](text)
        except ValueError as error:
            kind = "a whole number" if _KINDS[name] is int else "a number"
            raise ConfigError(f"{task.name}.{name}={text} is not {kind}") from error
    changes: dict[str, Any] = {name: value}
    return dataclasses.replace(task, **changes)
