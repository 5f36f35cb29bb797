"""The table of parameters: everything that is known about one stands in its row. No MindSpore.

A row is named after the parameter's place in the network, with the layer's number left out and both kinds of layer
called `layer` (see `row_name`). Whoever needs a fact reads it here: the network how a parameter starts, the optimizer
whether it decays, the memory account its shape, parts and checkpoints how it is cut. A new parameter is added to the
network and to this table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pangu_alpha.config import ModelConfig
from pangu_alpha.errors import ConfigError
from pangu_alpha.parallel.table import Dims, row_name
from pangu_alpha.topology.stages import LayerPlace

Shape = tuple[int, ...]
Size = Literal["vocab_size", "seq_length", "hidden_size", "feed_forward_size"]
"""A size of the network: an attribute of `ModelConfig`."""
MOMENTS = ("adam_m.", "adam_v.")
"""What the names of the optimizer's two tensors of a parameter begin with; everything else is as for the parameter."""
GRADIENT_SUMS = "accu_grads."
"""What MindSpore's names of the sums of gradients over micro-batches begin with."""
WORD_TABLE = "embedding.word.table"
"""The one parameter that two stages hold: it is also the output head. The first stage's is the one that is trained."""


Distribution = Literal["normal", "truncated_normal", "zeros", "ones"]


@dataclass(frozen=True)
class Start:
    """How one parameter starts."""

    distribution: Distribution
    """`truncated_normal` is cut at two standard deviations."""
    std: float = 0.0
    """Standard deviation of the (untruncated) normal distribution."""
    shrinks_with_depth: bool = False
    """Whether `std` is divided by √(2L), as in the released code: what writes to the residual stream."""

    def std_in(self, num_layers: int) -> float:
        """The standard deviation in a network of `num_layers` layers."""
        return self.std / math.sqrt(2 * num_layers) if self.shrinks_with_depth else self.std


ZEROS = Start("zeros")
ONES = Start("ones")


@dataclass(frozen=True)
class ParameterRow:
    """What is known about one parameter."""

    sizes: tuple[Size, ...]
    """Sizes of the dims of the whole tensor, without padding."""
    cut: Dims
    """The mesh axis that cuts each dim over the ranks of a stage, before the optimizer's sharding."""
    start: Start
    """Its starting values (released code)."""
    stages: Literal["first", "own", "last", "first and last"] = "own"
    """The pipeline stages that hold it; `own` is that of its layer."""
    is_kept_whole: bool = False
    """Whether optimizer sharding leaves it alone (released code): the word table travels, the others are small."""
    is_decayed: bool = True
    """Whether weight decay applies (paper Table 5)."""
    is_padded: bool = False
    """Whether its first dim is padded until the axis that cuts it divides it."""
    has_gradient: bool = True
    """False where the gradient is zero but for rounding."""

    def shape(self, model: ModelConfig) -> Shape:
        """Shape of the whole tensor, without padding."""
        return tuple(getattr(model, size) for size in self.sizes)

    def padded_shape(self, model: ModelConfig, mp: int) -> Shape:
        """Shape of the whole tensor as the ranks of a mesh hold it."""
        rows, *others = self.shape(model)
        return (num_padded_rows(rows, mp) if self.is_padded else rows, *others)


def num_padded_rows(num_rows: int, mp: int) -> int:
    """The rows of a padded parameter: the next number that `mp` divides."""
    return -(-num_rows // mp) * mp


def _vector(size: Size, cut: Literal["mp"] | None = None, is_kept_whole: bool = False) -> ParameterRow:
    return ParameterRow((size,), (cut,), ZEROS, is_kept_whole=is_kept_whole, is_decayed=False)


def _linear(
    name: str, sizes: tuple[Size, Size], split: Literal["columns", "rows"], std: float
) -> dict[str, ParameterRow]:
    """Weight and bias of x·W + b, with the columns or the rows of W split over mp.

    What is split by rows writes to the residual stream, and its bias is added once to the sum of all ranks.
    """
    if split == "columns":
        return {
            f"{name}.weight": ParameterRow(sizes, (None, "mp"), Start("normal", std)),
            f"{name}.bias": _vector(sizes[1], "mp"),
        }
    return {
        f"{name}.weight": ParameterRow(sizes, ("mp", None), Start("normal", std, shrinks_with_depth=True)),
        f"{name}.bias": _vector(sizes[1], is_kept_whole=True),
    }


def _norm(name: str, stages: Literal["own", "last"]) -> dict[str, ParameterRow]:
    return {
        f"{name}.{part}": ParameterRow(("hidden_size",), (None,), start, stages, is_kept_whole=True, is_decayed=False)
        for part, start in (("gamma", ONES), ("beta", ZEROS))
    }


def _positions(stages: Literal["first", "last"]) -> ParameterRow:
    start = Start("truncated_normal", 0.02)
    return ParameterRow(("seq_length", "hidden_size"), (None, None), start, stages, is_kept_whole=True)


_SQUARE: tuple[Size, Size] = ("hidden_size", "hidden_size")
# The released code leaves the start of query, key and value to the framework's default for dense layers: 0.01.
_DENSE = 0.01

PARAMETERS: Mapping[str, ParameterRow] = {
    WORD_TABLE: ParameterRow(
        ("vocab_size", "hidden_size"),
        ("mp", None),
        Start("normal", 0.02),
        stages="first and last",
        is_kept_whole=True,
        is_padded=True,
    ),
    "embedding.position.table": _positions("first"),
    **_norm("layer.attention_norm", "own"),
    **_linear("layer.attention.query", _SQUARE, "columns", _DENSE),
    **_linear("layer.attention.key", _SQUARE, "columns", _DENSE),
    # A key's bias adds the same to all scores of a query, which softmax takes away again.
    "layer.attention.key.bias": ParameterRow(("hidden_size",), ("mp",), ZEROS, is_decayed=False, has_gradient=False),
    **_linear("layer.attention.value", _SQUARE, "columns", _DENSE),
    **_linear("layer.attention.output", _SQUARE, "rows", 0.02),
    **_norm("layer.feed_forward_norm", "own"),
    **_linear("layer.feed_forward.expand", ("hidden_size", "feed_forward_size"), "columns", 0.02),
    **_linear("layer.feed_forward.contract", ("feed_forward_size", "hidden_size"), "rows", 0.02),
    "layer.top_query.table": _positions("last"),
    **_norm("final_norm", "last"),
}
"""All rows, in the order of the computation."""


def row_of(name: str) -> ParameterRow:
    """The row of a parameter of the network, or of one of its moments, or of the sums of its gradients.

    Raises:
        ConfigError: there is none: the table and the network have drifted apart.
    """
    row = PARAMETERS.get(row_name(parameter_name(name)))
    if row is None:
        raise ConfigError(f"no row for the parameter {name}: add it to parallel/parameters.py")
    return row


def parameter_name(name: str) -> str:
    """The parameter that a tensor belongs to: itself, or the one whose moment, or sum of gradients, it is."""
    for prefix in (*MOMENTS, GRADIENT_SUMS):
        name = name.removeprefix(prefix)
    return name


def parameter_names(model: ModelConfig) -> tuple[str, ...]:
    """Every parameter of the network by its name there, in the order of the computation."""
    layers = [f"layers.{number}" for number in range(model.num_layers - 1)]
    names = list(PARAMETERS)
    begin, *_, end = (number for number, name in enumerate(names) if name.startswith("layer."))
    in_layer = [name.removeprefix("layer.") for name in names[begin : end + 1]]
    own = [name for name in in_layer if PARAMETERS[f"layer.{name}"].stages == "own"]
    return (
        *names[:begin],
        *(f"{layer}.{name}" for layer in layers for name in own),
        *(f"query_layer.{name}" for name in in_layer),
        *names[end + 1 :],
    )


def tensor_names(model: ModelConfig) -> tuple[str, ...]:
    """Everything that a step changes: the parameters, then their first and second moments."""
    return tuple(prefix + name for prefix in ("", *MOMENTS) for name in parameter_names(model))


def num_parameters(model: ModelConfig) -> int:
    """Elements of all parameters, without padding.

    L(12d² + 13d) + V·d + 2·S·d + 2d: exactly the number printed by users of the released 2.6B checkpoint
    (2,625,295,360).
    """
    return sum(math.prod(row_of(name).shape(model)) for name in parameter_names(model))


def parameter_shapes(model: ModelConfig, mp: int) -> dict[str, Shape]:
    """The whole shape of every parameter, padded so that `mp` divides it."""
    return {name: row_of(name).padded_shape(model, mp) for name in parameter_names(model)}


def stages_holding(name: str, places: Sequence[LayerPlace]) -> tuple[int, ...]:
    """The pipeline stages that hold a parameter, each once; the first of them owns it.

    Args:
        name: of the parameter, in the network.
        places: those of `place_layers`.
    """
    last = places[-1].stage
    match row_of(name).stages:
        case "first":
            return (0,)
        case "last":
            return (last,)
        case "first and last":
            return (0, last) if last else (0,)
    cell, number, *_ = parameter_name(name).split(".")
    return (places[int(number)].stage if cell == "layers" else last,)
