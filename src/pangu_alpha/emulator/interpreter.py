"""Executes one rank's program: what its nodes compute, and what they ask of other ranks."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

from pangu_alpha.emulator.collectives import COLLECTIVE_SETTINGS, Exchange, Receive, Request, Send
from pangu_alpha.emulator.dtypes import Precision, is_narrow, kind_of, lifted, widen
from pangu_alpha.emulator.kernels import KERNELS, Kernel
from pangu_alpha.emulator.support import check_known
from pangu_alpha.errors import EmulatorError
from pangu_alpha.program.flow import Computation, Flow, Frame, Reference, read
from pangu_alpha.program.graph import Array, Node, Program, TensorType, ValueType, groups_of, members_of

_OPTIMIZER, _GRADIENT = "AdamWeightDecay", 8
"""The primitive whose input of this number is a parameter's final gradient."""


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
        self._groups = groups_of(program, num_ranks)
        self.parameters = {
            name: Reference(name, TensorType(kind.shape, lifted(kind.dtype, precision)))
            for name, kind in program.parameters.items()
        }
        for name, value in program.initial.items():
            self.parameters[name].write(value)
        self._narrow = precision == "native" and any(_has_narrow(node.output_type) for node in program.nodes())
        check_known(program)
        self._flow = Flow(program, self, rank)

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
        return (yield from self._flow.run(inputs))

    def constant(self, value: Any) -> Any:
        """See `Meaning`."""
        return _lift(value, self._precision)

    def parameter(self, name: str) -> Reference:
        """See `Meaning`."""
        return self.parameters[name]

    def step(self, node: Node, inputs: tuple[int, ...], slot: int) -> Computation:
        """See `Meaning`."""
        kernel = KERNELS.get(node.primitive)
        if kernel is not None:
            make = self._updating if kernel.num_updated else self._computing
            return make(node, kernel, inputs, slot)
        return self._communicating(node, inputs)

    def _computing(self, node: Node, kernel: Kernel, inputs: tuple[int, ...], slot: int) -> Computation:
        function, fit = self._bound(node, kernel), self.fit(node.output_type, converts=node.primitive == "Cast")

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

    def _updating(self, node: Node, kernel: Kernel, inputs: tuple[int, ...], slot: int) -> Computation:
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

    def _communicating(self, node: Node, inputs: tuple[int, ...]) -> Computation:
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
        return lambda frame: Exchange(node, group, members, settings, np.asarray(read(frame[source])))

    def _members(self, node: Node) -> tuple[int, ...]:
        members = members_of(node, self._groups)
        if self.rank not in members or max(members) >= self._num_ranks:
            raise EmulatorError(
                f"rank {self.rank} of {self._num_ranks}: {node} is for a group of the ranks {list(members)}; "
                "compile the programs of all ranks for the same mesh"
            )
        return members

    def fit(self, kind: ValueType, converts: bool = False) -> Callable[[Any], Any]:
        """Check a value against the recorded type, and round it to it; `converts` from any type. See `Meaning`."""
        if isinstance(kind, tuple):
            parts = [self.fit(part) for part in kind]
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
