from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from pangu_alpha.config import load_config
from pangu_alpha.parallel.parameters import PARAMETERS
from pangu_alpha.parallel.table import FOLLOWERS, Dims, row_name, sharding_table, sizes
from pangu_alpha.topology.mesh import Mesh

DP, MP = 2, 4
COLUMN_PARALLEL = ("attention.query", "attention.key", "attention.value", "feed_forward.expand")
ROW_PARALLEL = ("attention.output", "feed_forward.contract")
WITH_AXES = ("ExpandDims", "Transpose", "ReduceMax", "ReduceSum", "Gather", "GatherD")
"""Primitives whose Python numbers are axes, which have no entry in a strategy."""


@dataclass(frozen=True)
class Use:
    """One call of a primitive."""

    shapes: tuple[tuple[int, ...], ...]
    """Of its inputs; a Python number has the shape ()."""
    transposed: bool
    """Whether the second matrix of a product is."""


class Recorder:
    """Stands in a Cell for one of its primitives."""

    def __init__(self, primitive: Any, uses: list[Use]) -> None:
        self.primitive, self.uses = primitive, uses

    def __call__(self, *inputs: Any) -> Any:
        counted = [value for value in inputs if hasattr(value, "shape") or self.primitive.name not in WITH_AXES]
        shapes = tuple(tuple(getattr(value, "shape", ())) for value in counted)
        self.uses.append(Use(shapes, bool(getattr(self.primitive, "transpose_b", False))))
        return self.primitive(*inputs)


@pytest.fixture(scope="module")
def uses() -> dict[str, list[Use]]:
    """The calls of each primitive in a forward pass with dropout, by its name in the table.

    The network is Ascend's, executed operator by operator on the CPU.
    """
    os.environ.setdefault("GLOG_v", "3")
    import mindspore as ms
    from mindspore import Tensor

    from pangu_alpha.model import PanguAlpha, PanguAlphaLoss, loss, operators
    from pangu_alpha.runtime.device import set_device

    model = "{num_layers: 3, hidden_size: 32, num_heads: 4, vocab_size: 50, seq_length: 16, dropout: 0.1}"
    config = load_config("tiny_cpu", [f"model={model}", "model.final_norm=before_query_layer"]).model
    set_device("cpu")
    recorded: dict[str, list[Use]] = {}
    with pytest.MonkeyPatch.context() as patch:
        for module in (operators, loss):
            patch.setattr(module, "on_cpu", lambda: False)
        ids = Tensor(np.arange(4 * 16).reshape(4, 16) % 16, ms.int32)
        ms.set_context(mode=ms.PYNATIVE_MODE)
        try:
            for gelu in ("tanh", "erf"):
                model = config.model_copy(update={"gelu": gelu})
                cell = PanguAlphaLoss(PanguAlpha(model, num_table_rows=52)).set_train()
                for place, part in cell.cells_and_names():
                    for name, primitive in vars(part)["_primitives"].items():
                        if primitive.name not in FOLLOWERS:
                            row = row_name(f"{place}.{name}" if place else name)
                            vars(part)[name] = Recorder(primitive, recorded.setdefault(row, []))
                cell(ids, ids, ids, ids, Tensor(np.ones((4, 16)), ms.float32), Tensor(np.arange(4), ms.int32))
        finally:
            ms.set_context(mode=ms.GRAPH_MODE)
    return recorded


def strategy(name: str, sequence_parallel: bool = False) -> tuple[tuple[int, ...], ...]:
    """What MindSpore is given for the row `name`; a result's cut comes last."""
    row, mesh = sharding_table(sequence_parallel)[name], Mesh(DP, MP, 1, sequence_parallel)
    return tuple(sizes(dims, mesh) for dims in (*row.inputs, *(() if row.output is None else (row.output,))))


# The released code's strategies, written as numbers: PCL's release of 2021 and the 2-D form of MindFormers.


@pytest.mark.parametrize("sequence_parallel", [False, True])
@pytest.mark.parametrize("name", COLUMN_PARALLEL)
def test_column_parallel_products(name: str, sequence_parallel: bool) -> None:
    assert strategy(f"layer.{name}.matmul", sequence_parallel) == ((DP, 1), (1, MP))
    assert strategy(f"layer.{name}.add", sequence_parallel) == ((DP, MP), (MP,))


@pytest.mark.parametrize("name", ROW_PARALLEL)
def test_row_parallel_products(name: str) -> None:
    assert strategy(f"layer.{name}.matmul") == ((DP, MP), (MP, 1), (DP, 1))
    assert strategy(f"layer.{name}.add") == ((DP, 1), (1,))
    # Sequence parallel: the partial sums are scattered over the rows.
    assert strategy(f"layer.{name}.matmul", True) == ((DP, MP), (MP, 1), (DP * MP, 1))
    assert strategy(f"layer.{name}.add", True) == ((DP * MP, 1), (1,))


def test_attention_is_cut_by_samples_and_heads() -> None:
    heads = (DP, MP, 1, 1)
    assert strategy("layer.attention.split_heads") == ((DP, 1, MP, 1),)
    assert strategy("layer.attention.scale") == (heads, ())
    assert strategy("layer.attention.scores") == strategy("layer.attention.weighted_sum") == (heads, heads)
    assert strategy("layer.attention.add_mask") == (heads, (DP, 1, 1, 1))
    assert strategy("layer.attention.softmax") == strategy("layer.attention.merge_heads") == (heads,)


def test_vocabulary_is_cut_in_embedding_head_and_loss() -> None:
    assert strategy("embedding.word.gather") == ((MP, 1), (DP,), (DP, 1))
    assert strategy("embedding.position.gather") == strategy("layer.top_query.gather") == ((1, 1), (DP,))
    assert strategy("head.matmul") == ((DP, 1), (MP, 1))
    for name in ("max", "exp", "sum"):
        assert strategy(f"token_loss.{name}") == ((DP, MP),)
    assert strategy("token_loss.pick") == ((DP, MP), (DP, 1))


def test_a_sequence_parallel_embedding_scatters_its_sum_over_the_rows() -> None:
    assert strategy("embedding.word.gather", True) == ((MP, 1), (DP,), (DP * MP, 1))
    assert strategy("embedding.position.gather", True) == ((1, 1), (DP * MP,))
    assert strategy("embedding.add", True) == ((DP * MP, 1), (DP * MP, 1))
    assert strategy("layer.top_query.gather", True) == ((1, 1), (DP,))  # queries are made of all rows


@pytest.mark.parametrize(("sequence_parallel", "rows"), [(False, DP), (True, DP * MP)])
def test_between_the_products_only_rows_are_cut(sequence_parallel: bool, rows: int) -> None:
    for name in ("layer.attention_norm", "layer.feed_forward_norm", "final_norm"):
        assert strategy(f"{name}.normalise.layer_norm", sequence_parallel) == ((rows, 1), (1,), (1,))
    for name in ("layer.add_attention", "layer.add_feed_forward", "layer.attention_dropout.mask"):
        assert strategy(name, sequence_parallel) == ((rows, 1), (rows, 1))


# The table beside the network.


def test_rows_are_the_primitives_of_the_network(uses: dict[str, list[Use]]) -> None:
    assert {name for name, calls in uses.items() if calls} == set(sharding_table(False)) == set(sharding_table(True))


@pytest.mark.parametrize("sequence_parallel", [False, True])
def test_rows_have_the_dims_of_their_inputs(uses: dict[str, list[Use]], sequence_parallel: bool) -> None:
    for name, row in sharding_table(sequence_parallel).items():
        for use in uses[name]:
            assert [len(dims) for dims in row.inputs] == [len(shape) for shape in use.shapes], name


@pytest.mark.parametrize("sequence_parallel", [False, True])
def test_a_dim_of_one_element_is_never_cut(uses: dict[str, list[Use]], sequence_parallel: bool) -> None:
    for name, row in sharding_table(sequence_parallel).items():
        for use in uses[name]:
            for dims, shape in zip(row.inputs, use.shapes, strict=True):
                assert all(split is None for split, size in zip(dims, shape, strict=True) if size == 1), name


def test_both_inputs_of_a_product_are_cut_alike_where_they_are_summed(uses: dict[str, list[Use]]) -> None:
    products = {name: row for name, row in sharding_table(False).items() if name.endswith(("matmul", "scores", "_sum"))}
    assert len(products) == 6 + 1 + 2
    for name, row in products.items():
        left, right = row.inputs
        assert left[-1] == (right[-1] if uses[name][0].transposed else right[-2]), name
        assert (row.output is not None) == (left[-1] is not None), name


# Parameters beside the rows of the primitives that read them.


def test_parameters_are_cut_as_the_primitives_read_them() -> None:
    readers = {"weight": ("matmul", 1), "bias": ("add", 1), "table": ("gather", 0)}
    norms = {"gamma": ("normalise.layer_norm", 1), "beta": ("normalise.layer_norm", 2)}
    for sequence_parallel in (False, True):
        table = sharding_table(sequence_parallel)
        for name, parameter in PARAMETERS.items():
            place, _, part = name.rpartition(".")
            primitive, position = {**readers, **norms}[part]
            assert table[f"{place}.{primitive}"].inputs[position] == parameter.cut, name
        assert table["head.matmul"].inputs[1] == PARAMETERS["embedding.word.table"].cut


@pytest.mark.parametrize(
    ("dims", "expected"),
    [((), ()), (("dp", None), (2, 1)), ((("dp", "mp"), None), (8, 1)), (("mp", "pp"), (4, 3))],
)
def test_sizes(dims: Dims, expected: tuple[int, ...]) -> None:
    assert sizes(dims, Mesh(dp=2, mp=4, pp=3)) == expected


def test_only_rows_that_leave_partial_sums_name_their_result() -> None:
    named = {name for name, row in sharding_table(True).items() if row.output is not None}
    assert named == {"embedding.word.gather", *(f"layer.{name}.matmul" for name in ROW_PARALLEL)}


# What a row says about itself, beside what its name and its dims imply.


@pytest.mark.parametrize("sequence_parallel", [False, True])
def test_rows_name_the_axes_that_their_sums_are_split_over(sequence_parallel: bool) -> None:
    summed_dims = {"matmul": -1, "gather": 0, "max": -1, "sum": -1, "pick": -1, "total": 0}
    for name, row in sharding_table(sequence_parallel).items():
        dim = summed_dims.get(name.rpartition(".")[2])
        split = None if dim is None else row.inputs[0][dim]
        assert {axis for axis in row.summed if axis is not None} == ({split} if split else set()), name


def test_only_products_behind_split_rows_gather_them() -> None:
    table = sharding_table(True)
    gathering = {name for name, row in table.items() if row.gathers_rows}
    assert gathering == {"layer.attention.value.matmul", "layer.feed_forward.expand.matmul", "head.matmul"}
    assert {name for name, row in table.items() if not row.has_gradient} == {"token_loss.max"}


def test_selective_rematerialisation_keeps_products_and_what_communicates() -> None:
    table = sharding_table(True)
    again = {name for name, row in table.items() if row.is_recomputed}
    assert {name.rpartition(".")[2] for name in again} == {
        *("add_mask", "softmax", "gelu", "layer_norm", "mask", "scale", "keep", "hash"),
        *("shrink", "erf", "add_one", "halve", "multiply"),
    }
    assert all(name.startswith("layer.") and not table[name].summed for name in again)
    assert "layer.attention.scale" in again and "layer.feed_forward_dropout.mask" in again
