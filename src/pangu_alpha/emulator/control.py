"""Values and nodes that steer: parameters, closures, tuples, calls. They move values without looking at them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pangu_alpha.emulator.collectives import Request
from pangu_alpha.emulator.program import CALL, Array, TensorType


class Reference:
    """A parameter. It is read when a value is needed, not when it is passed on: what wrote it before then counts."""

    __slots__ = ("kind", "name", "value")

    def __init__(self, name: str, kind: TensorType) -> None:
        self.name, self.kind = name, kind
        self.value: Array | None = None
        """`None` until it is given one."""

    def write(self, value: Array) -> None:
        """Take a new value, rounded to the parameter's type."""
        if value.shape != self.kind.shape:
            raise ValueError(f"{self.name} is {self.kind}, its new value has the shape {list(value.shape)}")
        self.value = value.astype(self.kind.dtype, copy=False)


@dataclass(frozen=True)
class Closure:
    """A graph with its first arguments."""

    graph: str
    arguments: tuple[Any, ...] = ()


Frame = list[Any]
Step = Callable[[Frame], Request | Closure | None]


def read(value: Any) -> Any:
    """The value with parameters read."""
    if type(value) is Reference:
        return value.value
    return tuple(map(read, value)) if type(value) is tuple else value


def _alias(inputs: tuple[int, ...], callee: int, slot: int) -> Step:
    """Depend: its first input, still a reference if it is one."""
    first = inputs[0]

    def step(frame: Frame) -> None:
        frame[slot] = frame[first]

    return step


def _load(inputs: tuple[int, ...], callee: int, slot: int) -> Step:
    """Load: the value of now."""
    first = inputs[0]

    def step(frame: Frame) -> None:
        frame[slot] = read(frame[first])

    return step


def _make_tuple(inputs: tuple[int, ...], callee: int, slot: int) -> Step:
    def step(frame: Frame) -> None:
        frame[slot] = tuple([frame[i] for i in inputs])

    return step


def _tuple_get_item(inputs: tuple[int, ...], callee: int, slot: int) -> Step:
    first, index = inputs

    def step(frame: Frame) -> None:
        frame[slot] = frame[first][int(frame[index])]

    return step


def _partial(inputs: tuple[int, ...], callee: int, slot: int) -> Step:
    first, *rest = inputs

    def step(frame: Frame) -> None:
        closure = frame[first]
        frame[slot] = Closure(closure.graph, (*closure.arguments, *[frame[i] for i in rest]))

    return step


def _switch(inputs: tuple[int, ...], callee: int, slot: int) -> Step:
    condition, if_true, if_false = inputs

    def step(frame: Frame) -> None:
        frame[slot] = frame[if_true if bool(read(frame[condition])) else if_false]

    return step


def _call(inputs: tuple[int, ...], callee: int, slot: int) -> Step:
    def step(frame: Frame) -> Closure:
        closure = frame[callee]
        return Closure(closure.graph, (*closure.arguments, *[frame[i] for i in inputs]))

    return step


ONE_INPUT = ("Depend", "Load")
"""Their other inputs only say what must come before."""

CONTROL: dict[str, Callable[[tuple[int, ...], int, int], Step]] = {
    "Depend": _alias,
    "Load": _load,
    "MakeTuple": _make_tuple,
    "TupleGetItem": _tuple_get_item,
    "Partial": _partial,
    "Switch": _switch,
    CALL: _call,
}
