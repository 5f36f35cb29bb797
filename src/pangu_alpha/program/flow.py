"""How a program's graphs run: parameters, closures, tuples and calls. What a node computes is for others to say.

Each graph is prepared once: values get slots in a list, constants are filled in, and each node becomes a function that
reads its slots and fills one. A node that needs another graph, or something from outside, returns what it needs
instead. The nodes that steer, in `CONTROL`, move values without looking at them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pangu_alpha.errors import PanguError, ProgramError
from pangu_alpha.program.graph import CALL, Array, Graph, Monad, Node, Program, TensorType, ValueType


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
Computation = Callable[[Frame], Any]
"""Fills a slot, or returns what it needs: a `Closure` to be run, or what the generator's driver answers."""


def read(value: Any) -> Any:
    """The value with parameters read."""
    if type(value) is Reference:
        return value.value
    return tuple(map(read, value)) if type(value) is tuple else value


def _alias(inputs: tuple[int, ...], callee: int, slot: int) -> Computation:
    """Depend: its first input, still a reference if it is one."""
    first = inputs[0]

    def step(frame: Frame) -> None:
        frame[slot] = frame[first]

    return step


def _load(inputs: tuple[int, ...], callee: int, slot: int) -> Computation:
    """Load: the value of now."""
    first = inputs[0]

    def step(frame: Frame) -> None:
        frame[slot] = read(frame[first])

    return step


def _make_tuple(inputs: tuple[int, ...], callee: int, slot: int) -> Computation:
    def step(frame: Frame) -> None:
        frame[slot] = tuple([frame[i] for i in inputs])

    return step


def _tuple_get_item(inputs: tuple[int, ...], callee: int, slot: int) -> Computation:
    first, index = inputs

    def step(frame: Frame) -> None:
        frame[slot] = frame[first][int(frame[index])]

    return step


def _partial(inputs: tuple[int, ...], callee: int, slot: int) -> Computation:
    first, *rest = inputs

    def step(frame: Frame) -> None:
        closure = frame[first]
        frame[slot] = Closure(closure.graph, (*closure.arguments, *[frame[i] for i in rest]))

    return step


def _switch(inputs: tuple[int, ...], callee: int, slot: int) -> Computation:
    condition, if_true, if_false = inputs

    def step(frame: Frame) -> None:
        chosen = read(frame[condition])
        if chosen is None:
            raise ProgramError("the program branches on a value that is not computed here")
        frame[slot] = frame[if_true if bool(chosen) else if_false]

    return step


def _call(inputs: tuple[int, ...], callee: int, slot: int) -> Computation:
    def step(frame: Frame) -> Closure:
        closure = frame[callee]
        return Closure(closure.graph, (*closure.arguments, *[frame[i] for i in inputs]))

    return step


_ONE_INPUT = ("Depend", "Load")
"""Their other inputs only say what must come before."""

CONTROL: dict[str, Callable[[tuple[int, ...], int, int], Computation]] = {
    "Depend": _alias,
    "Load": _load,
    "MakeTuple": _make_tuple,
    "TupleGetItem": _tuple_get_item,
    "Partial": _partial,
    "Switch": _switch,
    CALL: _call,
}


class Meaning(Protocol):
    """What the nodes that do not steer do, and what values are before they run."""

    def step(self, node: Node, inputs: tuple[int, ...], slot: int) -> Computation:
        """The function of a node that reads the slots `inputs` and fills `slot`."""
        ...

    def fit(self, kind: ValueType) -> Callable[[Any], Any]:
        """Checks an answer, or the result of a call, against the recorded type."""
        ...

    def constant(self, value: Any) -> Any:
        """A constant of the program as the steps take it."""
        ...

    def parameter(self, name: str) -> Any:
        """What stands for a parameter of the network."""
        ...


@dataclass
class _Prepared:
    """A graph ready to run."""

    template: Frame = field(default_factory=list)
    """The slots, with constants and parameters filled in."""
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    steps: list[tuple[Node, Computation, int, Callable[[Any], Any], list[int]]] = field(default_factory=list)
    """Node, its function, the slot of a reply, what a reply must look like, and the slots that are not read again."""


class Flow:
    """All graphs of one program, ready to run with one meaning."""

    def __init__(self, program: Program, meaning: Meaning, rank: int) -> None:
        """Args:
        program: what is run.
        meaning: of its nodes.
        rank: whose program it is, for messages.
        """
        self._program, self._meaning, self._rank = program, meaning, rank
        self._types: dict[str, ValueType] = {node.output: node.output_type for node in program.nodes()}
        for graph in program.graphs.values():
            self._types.update(zip(graph.inputs, graph.input_types, strict=True))
        self._graphs = {name: self._prepare(graph) for name, graph in program.graphs.items()}

    def run(self, inputs: Sequence[Any]) -> Generator[Any, Any, Any]:
        """Run the program once; returns its outputs with parameters read: a value, or a tuple of them.

        Args:
            inputs: in the order of `Program.inputs`.
        """
        remaining = iter(inputs)
        names, main = self._program.parameter_names, self._program.main
        arguments = [
            self._meaning.parameter(names[name]) if name in names else next(remaining)
            for name in main.inputs
            if not self._is_monad(name)
        ]
        return read((yield from self._execute(self._graphs[main.name], arguments)))

    def _execute(self, graph: _Prepared, arguments: Sequence[Any]) -> Generator[Any, Any, Any]:
        frame = graph.template.copy()
        for slot, argument in zip(graph.inputs, arguments, strict=True):
            frame[slot] = argument
        for node, step, slot, fit, dead in graph.steps:
            try:
                request = step(frame)
                if request is not None:
                    if isinstance(request, Closure):
                        callee = self._graphs[request.graph]
                        reply = yield from self._execute(callee, request.arguments)
                    else:
                        reply = yield request
                    frame[slot] = fit(reply)
            except PanguError:
                raise
            except Exception as error:
                # Whatever NumPy or a kernel objects to is a program that was not foreseen: say where.
                raise ProgramError(f"rank {self._rank} cannot execute {node}: {error}") from error
            for index in dead:
                frame[index] = None
        outputs = tuple(frame[slot] for slot in graph.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def _prepare(self, graph: Graph) -> _Prepared:
        prepared = _Prepared()
        slots: dict[str, int] = {}
        made: set[int] = set()

        def slot_of(name: str) -> int:
            if name not in slots:
                slots[name] = len(prepared.template)
                prepared.template.append(self._initial(graph, name))
            return slots[name]

        # Monads order the nodes, which are in order already.
        prepared.inputs = tuple(slot_of(name) for name in graph.inputs if not self._is_monad(name))
        last_use: dict[int, int] = {}
        for position, node in enumerate(graph.nodes):
            names = node.inputs[:1] if node.primitive in _ONE_INPUT else node.inputs
            inputs = tuple(slot_of(name) for name in names if not self._is_monad(name))
            callee = slot_of(node.callee) if node.callee else -1
            slot = slots[node.output] = len(prepared.template)
            prepared.template.append(None)
            made.add(slot)
            last_use.update(dict.fromkeys((*inputs, callee, slot), position))
            control = CONTROL.get(node.primitive)
            step = control(inputs, callee, slot) if control else self._meaning.step(node, inputs, slot)
            prepared.steps.append((node, step, slot, self._meaning.fit(node.output_type), []))
        prepared.outputs = tuple(map(slot_of, graph.outputs))
        for slot, position in last_use.items():
            if slot in made and slot not in prepared.outputs:
                prepared.steps[position][-1].append(slot)
        return prepared

    def _is_monad(self, name: str) -> bool:
        return (self._types.get(name) or self._program.constants.get(name)) is Monad.MONAD

    def _initial(self, graph: Graph, name: str) -> Any:
        """What a slot holds before the graph runs, for a value that no node of the graph has made."""
        if name in graph.inputs or self._is_monad(name):
            return None
        if name in self._program.constants:
            return self._meaning.constant(self._program.constants[name])
        if name in self._program.parameter_names:
            return self._meaning.parameter(self._program.parameter_names[name])
        if name in self._program.graphs:
            return Closure(name)
        raise ProgramError(f"{self._program.path}: the value {name} is used in {graph.name} before it is made")
