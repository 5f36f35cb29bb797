"""Executes one rank's program.

Each graph is prepared once: values get slots in a list, constants are filled in, and each node becomes a function that
reads its slots and fills one. A node that needs other ranks, or another graph, returns what it needs instead.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pangu_alpha.emulator.collectives import COLLECTIVE_SETTINGS, Collective, Receive, Request, Send
from pangu_alpha.emulator.control import CONTROL, ONE_INPUT, Closure, Frame, Reference, Step, read
from pangu_alpha.emulator.dtypes import Precision, is_narrow, kind_of, lifted, widen
from pangu_alpha.emulator.kernels import KERNELS, Kernel
from pangu_alpha.emulator.known import COMMUNICATION, check_known
from pangu_alpha.emulator.program import Array, Graph, Monad, Node, Program, TensorType, ValueType, group_members
from pangu_alpha.errors import EmulatorError

WORLD = "hccl_world_group"
"""The group of all ranks; the only one whose members a program need not list."""
_OPTIMIZER, _GRADIENT = "AdamWeightDecay", 8
"""The primitive whose input of this number is a parameter's final gradient."""


@dataclass
class _Prepared:
    """A graph ready to run."""

    template: Frame = field(default_factory=list)
    """The slots, with constants and parameters filled in."""
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    steps: list[tuple[Node, Step, int, Callable[[Any], Any], list[int]]] = field(default_factory=list)
    """Node, its function, the slot of a reply, what a reply must look like, and the slots that are not read again."""


class RankProgram:
    """One rank: its program and its parameters, which last from step to step."""

    def __init__(self, rank: int, num_ranks: int, program: Program, precision: Precision) -> None:
        """Prepare the program.

        Raises:
            EmulatorError: it holds a primitive or an attribute that is not known here; all of them are named.
        """
        self.rank = rank
        self.program = program
        self.gradients: dict[str, Array] = {}
        """What AdamWeightDecay was given in the last step, by parameter."""
        self._num_ranks, self._precision = num_ranks, precision
        self.parameters = {
            name: Reference(name, TensorType(kind.shape, lifted(kind.dtype, precision)))
            for name, kind in program.parameters.items()
        }
        for name, value in program.initial.items():
            self.parameters[name].write(value)
        self._narrow = precision == "native" and any(_has_narrow(node.output_type) for node in program.nodes())
        self._types: dict[str, ValueType] = {node.output: node.output_type for node in program.nodes()}
        for graph in program.graphs.values():
            self._types.update(zip(graph.inputs, graph.input_types, strict=True))
        check_known(program)
        self._graphs = {name: self._prepare(graph) for name, graph in program.graphs.items()}

    def run(self, inputs: Sequence[Array]) -> Generator[Request, Any, Any]:
        """One step; returns the program's outputs: an array, or a tuple of them.

        Args:
            inputs: in the order of `Program.inputs`.
        """
        missing = sorted(name for name, reference in self.parameters.items() if reference.value is None)
        if missing:
            raise EmulatorError(
                f"rank {self.rank}: these parameters have no value yet, scatter them: {', '.join(missing)}"
            )
        self.gradients.clear()
        remaining = iter(inputs)
        names, main = self.program.parameter_names, self.program.main
        arguments = [
            self.parameters[names[name]] if name in names else next(remaining)
            for name in main.inputs
            if not self._is_monad(name)
        ]
        return read((yield from self._execute(self._graphs[main.name], arguments)))

    def _execute(self, graph: _Prepared, arguments: Sequence[Any]) -> Generator[Request, Any, Any]:
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
            except EmulatorError:
                raise
            except Exception as error:
                # Whatever NumPy or a kernel objects to is a program that was not foreseen: say where.
                raise EmulatorError(f"rank {self.rank} cannot execute {node}: {error}") from error
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
            names = node.inputs[:1] if node.primitive in ONE_INPUT else node.inputs
            inputs = tuple(slot_of(name) for name in names if not self._is_monad(name))
            callee = slot_of(node.callee) if node.callee else -1
            slot = slots[node.output] = len(prepared.template)
            prepared.template.append(None)
            made.add(slot)
            last_use.update(dict.fromkeys((*inputs, callee, slot), position))
            prepared.steps.append((node, self._step(node, inputs, callee, slot), slot, self._fit(node.output_type), []))
        prepared.outputs = tuple(map(slot_of, graph.outputs))
        for slot, position in last_use.items():
            if slot in made and slot not in prepared.outputs:
                prepared.steps[position][-1].append(slot)
        return prepared

    def _is_monad(self, name: str) -> bool:
        return (self._types.get(name) or self.program.constants.get(name)) is Monad.MONAD

    def _initial(self, graph: Graph, name: str) -> Any:
        """What a slot holds before the graph runs, for a value that no node of the graph has made."""
        if name in graph.inputs or self._is_monad(name):
            return None
        if name in self.program.constants:
            return _lift(self.program.constants[name], self._precision)
        if name in self.program.parameter_names:
            return self.parameters[self.program.parameter_names[name]]
        if name in self.program.graphs:
            return Closure(name)
        raise EmulatorError(f"{self.program.path}: the value {name} is used in {graph.name} before it is made")

    def _step(self, node: Node, inputs: tuple[int, ...], callee: int, slot: int) -> Step:
        kernel = KERNELS.get(node.primitive)
        if kernel is not None:
            make = self._updating if kernel.num_updated else self._computing
            return make(node, kernel, inputs, slot)
        if node.primitive in COMMUNICATION:
            return self._communicating(node, inputs)
        return CONTROL[node.primitive](inputs, callee, slot)

    def _computing(self, node: Node, kernel: Kernel, inputs: tuple[int, ...], slot: int) -> Step:
        function, fit = self._bound(node, kernel), self._fit(node.output_type, converts=node.primitive == "Cast")

        def step(frame: Frame) -> None:
            frame[slot] = fit(function(*[read(frame[i]) for i in inputs]))

        return step

    def _bound(self, node: Node, kernel: Kernel) -> Callable[..., Any]:
        """The kernel with the node's attributes, on widened inputs where the program has narrow types."""
        function = kernel.function
        options = {name: node.attributes[name] for name in kernel.attributes}
        if not (self._narrow and not kernel.moves):
            return (lambda *values: function(*values, **options)) if options else function
        return lambda *values: function(*map(_widen, values), **options)

    def _updating(self, node: Node, kernel: Kernel, inputs: tuple[int, ...], slot: int) -> Step:
        function, count = self._bound(node, kernel), kernel.num_updated
        is_optimizer = node.primitive == _OPTIMIZER

        def step(frame: Frame) -> None:
            references = tuple(frame[i] for i in inputs[:count])
            values = [read(frame[i]) for i in inputs]
            for reference, value in zip(references, function(*values), strict=True):
                reference.write(np.asarray(value))
            if is_optimizer:
                self.gradients[references[0].name] = values[_GRADIENT]
            frame[slot] = references if count > 1 else references[0]

        return step

    def _communicating(self, node: Node, inputs: tuple[int, ...]) -> Step:
        attributes, rank = node.attributes, self.rank
        group, members = attributes["group"], self._members(node)
        if node.primitive == "Receive":
            receive = Receive(node, group, members[attributes["src_rank"]], rank, attributes["sr_tag"])
            return lambda frame: receive
        (source,) = inputs
        if node.primitive == "Send":
            destination, tag = members[attributes["dest_rank"]], attributes["sr_tag"]
            return lambda frame: Send(node, group, rank, destination, tag, np.asarray(read(frame[source])))
        settings = tuple((name, attributes[name]) for name in COLLECTIVE_SETTINGS[node.primitive])
        return lambda frame: Collective(node, group, members, settings, np.asarray(read(frame[source])))

    def _members(self, node: Node) -> tuple[int, ...]:
        members = group_members(node.attributes)
        if not members and node.attributes["group"] == WORLD:
            members = tuple(range(self._num_ranks))
        if self.rank not in members or max(members) >= self._num_ranks:
            raise EmulatorError(
                f"rank {self.rank} of {self._num_ranks}: {node} is for a group of the ranks {list(members)}; "
                "compile the programs of all ranks for the same mesh"
            )
        return members

    def _fit(self, kind: ValueType, converts: bool = False) -> Callable[[Any], Any]:
        """Check a value against the recorded type, and round it to it; `converts` from any type."""
        if isinstance(kind, tuple):
            parts = [self._fit(part) for part in kind]
            return lambda values: tuple(fit(value) for fit, value in zip(parts, values, strict=True))
        if not isinstance(kind, TensorType):
            return lambda value: value
        shape, dtype = kind.shape, lifted(kind.dtype, self._precision)

        def fit(value: Any) -> Any:
            if type(value) is Reference:
                return value
            array = np.asarray(value)
            if array.shape != shape:
                raise ValueError(f"the result has the shape {list(array.shape)}, the program says {list(shape)}")
            if array.dtype == dtype:
                return array
            if kind_of(array.dtype) != kind_of(dtype) and not converts:
                raise ValueError(f"the result is {array.dtype}, the program says {dtype}")
            return array.astype(dtype)

        return fit


def _widen(value: Any) -> Any:
    if type(value) is tuple:
        return tuple(map(_widen, value))
    return widen(value) if isinstance(value, np.ndarray) else value


def _lift(value: Any, precision: Precision) -> Any:
    if isinstance(value, tuple):
        return tuple(_lift(item, precision) for item in value)
    return value.astype(lifted(value.dtype, precision), copy=False) if isinstance(value, np.ndarray) else value


def _has_narrow(kind: ValueType) -> bool:
    if isinstance(kind, tuple):
        return any(map(_has_narrow, kind))
    return isinstance(kind, TensorType) and is_narrow(kind.dtype)
