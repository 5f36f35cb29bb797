"""Which part of each parameter a rank holds, from the table alone. No MindSpore."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from pangu_alpha.config import ParallelConfig
from pangu_alpha.parallel.table import PARAMETERS, sizes
from pangu_alpha.topology.mesh import Mesh
from pangu_alpha.topology.stages import LayerPlace

WORD_TABLE = "embedding.word.table"
"""The one parameter that two stages hold: it is also the output head."""


def row_name(place: str) -> str:
    """The table's name for a place in the network: `network.layers.3.mask.both` → `layer.mask.both`."""
    return re.sub(r"^(layers\.\d+|query_layer)\.", "layer.", place.removeprefix("network."))


def num_table_rows(num_words: int, mp: int) -> int:
    """Rows of the word table: the vocabulary, padded until mp divides it."""
    return -(-num_words // mp) * mp


def is_kept_whole(name: str) -> bool:
    """Whether optimizer sharding leaves this parameter of the table alone (released code).

    The word table travels between stages. The others are small.
    """
    return name.endswith((".table", ".gamma", ".beta", "output.bias", "contract.bias"))


def num_slices(name: str, shape: Sequence[int], parallel: ParallelConfig) -> int:
    """In how many different parts the ranks of a stage hold the parameter `name` of the whole `shape`."""
    cuts = sizes(PARAMETERS[row_name(name)], Mesh.of(parallel))
    is_sharded = parallel.optimizer_sharding and not is_kept_whole(name) and shape[0] // cuts[0] % parallel.dp == 0
    return math.prod(cuts) * (parallel.dp if is_sharded else 1)


def stages_holding(name: str, places: Sequence[LayerPlace]) -> set[int]:
    """The pipeline stages that hold the parameter `name`; `places` are those of `place_layers`."""
    cell, number, *_ = name.split(".")
    last = places[-1].stage
    if name == WORD_TABLE:
        return {0, last}
    if cell == "layers":
        return {places[int(number)].stage}
    return {0} if cell == "embedding" else {last}


def norm_shares(shapes: Mapping[str, Sequence[int]], parallel: ParallelConfig, stage: int) -> list[float]:
    """For each parameter, what its gradient on a rank of `stage` counts in the global norm.

    1 ÷ the number of ranks of the stage that hold the same slice. The word table counts on the first stage only: the
    last one sends it the gradient of its copy.
    """
    num_ranks = parallel.dp * parallel.mp
    return [
        0.0 if stage > 0 and name == WORD_TABLE else num_slices(name, shape, parallel) / num_ranks
        for name, shape in shapes.items()
    ]
