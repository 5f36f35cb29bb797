"""Reads an exported program (`.mindir`, a protobuf of MindSpore's intermediate representation) into plain data.

Only what execution needs is kept, and nothing is guessed: an attribute of an unknown type is an error. The listed order
of the nodes is an order of execution; it obeys MindSpore's monads, which say what must come before what, so nodes that
only join monads are left out.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from pangu_alpha.errors import ProgramError

Array = NDArray[Any]
CALL = "Call"
"""Primitive of a node that runs another graph: `callee` names it, or the value that holds it."""
WORLD = "hccl_world_group"
"""The group of all ranks."""

_DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.float32),
    2: np.dtype(np.uint8),
    3: np.dtype(np.int8),
    4: np.dtype(np.uint16),
    5: np.dtype(np.int16),
    6: np.dtype(np.int32),
    7: np.dtype(np.int64),
    9: np.dtype(np.bool_),
    10: np.dtype(np.float16),
    11: np.dtype(np.float64),
    12: np.dtype(np.uint32),
    13: np.dtype(np.uint64),
    16: np.dtype(ml_dtypes.bfloat16),
    17: np.dtype(np.float64),
}
"""Of `TensorProto.DataType`."""


class Monad(Enum):
    """The value that stands for "after this effect"; it carries no data."""

    MONAD = "monad"


@dataclass(frozen=True)
class TensorType:
    """Shape and type of a tensor."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


ValueType = TensorType | Monad | tuple[Any, ...] | None
"""Of a node's output: a tensor, a tuple of types, no data, or not recorded (closures)."""


@dataclass(frozen=True)
class Node:
    """One operation. Values are known by name; `output` is unique in the program."""

    primitive: str
    scope: str
    """Where it stands in the network, for example `Default/network-Loss/.../MatMul-op3`."""
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any]
    """Attributes of the primitive and of the node."""
    output_type: ValueType
    callee: str = ""

    def __str__(self) -> str:
        return f"{self.primitive} ({self.scope or self.output})"


@dataclass(frozen=True)
class Graph:
    """A function: the names of its inputs and outputs, and its nodes in order of execution."""

    name: str
    inputs: tuple[str, ...]
    input_types: tuple[ValueType, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Program:
    """One rank's program."""

    path: Path
    main: Graph
    graphs: Mapping[str, Graph]
    """All of them by name, `main` too."""
    constants: Mapping[str, Any]
    """Array, number, text, `Monad`, None, or a tuple of them, by value name."""
    parameters: Mapping[str, TensorType]
    """By the parameter's name in the network."""
    initial: Mapping[str, Array]
    """Values of the parameters that were written with the program."""
    parameter_names: Mapping[str, str]
    """Value name → the parameter's name in the network."""

    @property
    def inputs(self) -> dict[str, ValueType]:
        """What the caller gives, in order: name without its graph → type."""
        main = self.main
        pairs = zip(main.inputs, main.input_types, strict=True)
        return {_short(main.name, name): kind for name, kind in pairs if name not in self.parameter_names}

    def nodes(self) -> Iterator[Node]:
        """Every node of every graph."""
        for graph in self.graphs.values():
            yield from graph.nodes

    def received_parameters(self) -> set[str]:
        """Parameters that are only a copy: their owner, on another stage, sends them in each step."""
        receivers = (node for node in self.nodes() if node.primitive == "Receive")
        names = (self.parameter_names.get(name) for node in receivers for name in node.inputs)
        return {name for name in names if name is not None}


def groups_of(program: Program, num_ranks: int) -> dict[str, tuple[int, ...]]:
    """The ranks of each communication group that a program names, in the group's order.

    Args:
        program: of a rank.
        num_ranks: of the job; the group of all of them is the only one whose members no node need list.
    """
    groups = {WORLD: tuple(range(num_ranks))}
    for node in program.nodes():
        if "group" in node.attributes and (listed := _listed_members(node)):
            groups[node.attributes["group"]] = listed
    return groups


def members_of(node: Node, groups: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """The ranks that a node communicates with, itself included; empty where no node of the program lists them."""
    return _listed_members(node) or groups.get(node.attributes["group"], ())


def _listed_members(node: Node) -> tuple[int, ...]:
    return tuple(node.attributes.get("group_rank_ids") or node.attributes.get("rank_list") or ())


def read_program(path: Path) -> Program:
    """Read one rank's program.

    Raises:
        ProgramError: the file is missing, is no MindIR, or has something in it that is not known here.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = _protobuf().ModelProto.FromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise ProgramError(f"{path} cannot be read as an exported program: {error}; export it again") from error
    try:
        return _ProgramReader(path, model).program()
    except _UnknownError as error:
        raise ProgramError(f"{path}: {error}; teach it to program/graph.py") from error


class _UnknownError(Exception):
    """Something in the file that this reader does not know."""


@lru_cache
def _protobuf() -> ModuleType:
    # The one generated module, by its file: `import mindspore` would take seconds in each process.
    package = importlib.util.find_spec("mindspore")
    assert package is not None and package.origin is not None
    file = Path(package.origin).parent / "train" / "mind_ir_pb2.py"
    spec = importlib.util.spec_from_file_location("pangu_alpha_mind_ir_pb2", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _ProgramReader:
    def __init__(self, path: Path, model: Any) -> None:
        self._path, self._model = path, model
        self._primitives = {item.name: (item.op_type, _attributes(item.attribute)) for item in model.primitives}
        self._constants: dict[str, Any] = {}

    def program(self) -> Program:
        graphs = [self._graph(item) for item in (self._model.graph, *self._model.functions)]
        items = {_short(self._model.graph.name, item.name): item for item in self._model.graph.parameter}
        return Program(
            self._path,
            graphs[0],
            {graph.name: graph for graph in graphs},
            self._constants,
            {name: _tensor_type(item) for name, item in items.items()},
            {name: _tensor(item) for name, item in items.items() if item.raw_data},
            {item.name: name for name, item in items.items()},
        )

    def _graph(self, graph: Any) -> Graph:
        nodes = []
        for item in graph.node:
            if item.op_type == "Constant":
                self._constants[item.output[0]] = _attributes(item.attribute)["value"]
                continue
            node = self._node(item)
            if node.output_type is Monad.MONAD and node.primitive != CALL:
                self._constants[node.output] = Monad.MONAD
            else:
                nodes.append(node)
        return Graph(
            graph.name,
            tuple(item.name for item in graph.input),
            tuple(_input_type(item) for item in graph.input),
            tuple(item.name for item in graph.output),
            tuple(nodes),
        )

    def _node(self, item: Any) -> Node:
        if len(item.output) != 1:
            raise _UnknownError(f"node {item.name} has {len(item.output)} outputs, not 1")
        name = item.op_type.removeprefix("REF::")
        callee = ""
        attributes: dict[str, Any] = {}
        if item.op_type == name:
            primitive = name
        elif name in self._primitives:
            primitive, attributes = self._primitives[name]
        else:
            primitive, callee = CALL, name
        own = {attribute.name: attribute for attribute in item.attribute}
        output_type = _value_type(own.pop("shape")) if "shape" in own else None
        attributes = {**_attributes(own.values()), **attributes}
        return Node(primitive, item.domain, tuple(item.input), item.output[0], attributes, output_type, callee)


def _short(graph: str, name: str) -> str:
    return name.removeprefix(f"{graph}:")


def _attributes(items: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for item in items:
        try:
            values[item.name] = _attribute(item)
        except _UnknownError as error:
            raise _UnknownError(f"attribute {item.name}: {error}") from error
    return values


def _kind(item: Any) -> str:
    return str(type(item).AttributeType.Name(item.type))


def _attribute(item: Any) -> Any:
    kind = _kind(item)
    if kind in ("TUPLE", "LIST"):
        return tuple(_attribute(value) for value in item.values)
    if kind in ("TENSOR", "TENSORS"):
        tensors = tuple(_tensor_or_type(value) for value in (item.tensors if kind == "TENSORS" else (item.t,)))
        return tensors[0] if len(tensors) == 1 else tensors
    if kind in ("UMONAD", "IOMONAD"):
        return Monad.MONAD
    if kind in ("NONE", "TYPE_NULL"):
        return None
    # A scalar sits in the repeated field inside a tuple, and in the single field elsewhere.
    if kind == "BOOL":
        return bool(item.ints[0] if item.ints else item.i)
    if kind.startswith(("INT", "UINT")):
        return int(item.ints[0] if item.ints else item.i)
    if kind == "FLOAT":
        return float(item.floats[0] if item.floats else item.f)
    if kind == "DOUBLE":
        return float(item.doubles[0] if item.doubles else item.d)
    if kind == "STRING":
        text = item.strings[0] if item.strings else item.s
        return text.decode() if isinstance(text, bytes) else text
    raise _UnknownError(f"type {kind} is not known")


def _dtype(code: int) -> np.dtype[Any]:
    if code not in _DTYPES:
        raise _UnknownError(f"tensor type {code} is not known")
    return _DTYPES[code]


def _tensor_type(tensor: Any) -> TensorType:
    shape = tuple(tensor.dims)
    if any(size < 0 for size in shape):
        raise _UnknownError(f"shape {list(shape)} is not fixed")
    return TensorType(shape, _dtype(tensor.data_type))


def _tensor(tensor: Any) -> Array:
    kind = _tensor_type(tensor)
    if tensor.HasField("external_data"):
        raise _UnknownError(f"tensor {tensor.name} is kept in a file of its own")
    if tensor.compression_type:
        raise _UnknownError(f"tensor {tensor.name} is compressed")
    return np.frombuffer(tensor.raw_data, kind.dtype).reshape(kind.shape)


def _tensor_or_type(tensor: Any) -> Array | TensorType:
    """A type is written as a tensor without data."""
    return _tensor(tensor) if tensor.raw_data or 0 in tensor.dims else _tensor_type(tensor)


def _value_type(item: Any) -> ValueType:
    kind = _kind(item)
    if kind in ("TUPLE", "LIST"):
        return tuple(_value_type(value) for value in item.values)
    if kind in ("TENSOR", "TENSORS"):
        return _tensor_type(item.tensors[0] if item.tensors else item.t)
    return Monad.MONAD if kind in ("UMONAD", "IOMONAD") else None


def _input_type(item: Any) -> ValueType:
    if item.HasField("attr_info"):
        return _value_type(item.attr_info)
    return _tensor_type(item.tensor[0]) if item.tensor else None
