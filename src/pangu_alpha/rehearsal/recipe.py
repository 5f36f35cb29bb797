"""What a recipe needs in order to be rehearsed: ranks that are played, a rank table, and data where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from pangu_alpha.cluster.rank_tables.check import find_problems
from pangu_alpha.cluster.rank_tables.rank_table import (
    Device,
    RankTable,
    Server,
    numbered,
    read_rank_table,
    write_rank_table,
)
from pangu_alpha.compiler.programs import PROCESS_MEMORY
from pangu_alpha.config import RunConfig
from pangu_alpha.data.packing import pack
from pangu_alpha.errors import ClusterError, ConfigError
from pangu_alpha.parallel.parts import held_tensors
from pangu_alpha.topology.mesh import Mesh

_CARDS = 8
"""Of a server of the table that is made."""
_NUM_DOCUMENTS = 64
_SPARE_SAMPLES = 8
_COPIES = 3
"""Of a rank's tensors that its process holds at most: on the simulated device, to be saved, and one on its way."""


Played = Literal["all"] | Sequence[int] | None
"""The ranks that get a process: all, these, or one a stage."""


def chosen_ranks(config: RunConfig, wanted: Played, free_memory: int) -> tuple[int, ...]:
    """The ranks that are played. Rank 0, which commits, is always among them.

    Where the memory does not hold one of each stage, the first and the last stage are played, and others evenly.

    Args:
        config: the recipe.
        wanted: by the user.
        free_memory: bytes that all of them together may need.

    Raises:
        ConfigError: there is no such rank.
    """
    mesh = Mesh.of(config.parallel)
    if wanted == "all":
        return tuple(range(mesh.num_ranks))
    if wanted is not None:
        if odd := [rank for rank in wanted if not 0 <= rank < mesh.num_ranks]:
            raise ConfigError(f"rank {odd[0]} cannot be rehearsed: {mesh} has the ranks 0 to {mesh.num_ranks - 1}")
        return tuple(sorted({0, *map(int, wanted)}))
    firsts = [mesh.stage_ranks(stage)[0] for stage in range(mesh.pp)]
    number = min(mesh.pp, max(1, free_memory // max(process_memory(config, rank) for rank in (firsts[0], firsts[-1]))))
    places = np.unique(np.linspace(0, mesh.pp - 1, number).round().astype(int)) if number > 1 else [0]
    return tuple(firsts[place] for place in places)


def process_memory(config: RunConfig, rank: int) -> int:
    """Bytes that the process of `rank` is expected to need: for compiling, and for its tensors."""
    held = held_tensors(config.model, config.parallel, rank).values()
    return PROCESS_MEMORY + _COPIES * 4 * sum(part.box.num_elements for part in held)


def checked_table(config: RunConfig, path: Path) -> RankTable:
    """The rank table in `path`, as the launcher would take it.

    Raises:
        ClusterError: it is not one for the recipe's mesh.
    """
    table = read_rank_table(path)
    if problems := find_problems(table, Mesh.of(config.parallel)):
        raise ClusterError(f"{path} does not fit this job:\n  " + "\n  ".join(map(str, problems[:10])))
    return table


def made_table(config: RunConfig, path: Path) -> RankTable:
    """A rank table of as many servers of 8 cards as the mesh needs, written to `path`."""
    num_ranks = config.parallel.num_devices
    servers = [
        Server(
            f"10.0.{number // 200}.{number % 200 + 1}",
            tuple(
                Device(card, 0, f"10.{64 + number // 200}.{number % 200 + 1}.{card + 1}")
                for card in range(min(_CARDS, num_ranks - _CARDS * number))
            ),
        )
        for number in range(-(-num_ranks // _CARDS))
    ]
    # HCCL wants the servers in the dictionary order of their ids.
    table = numbered("1.0", sorted(servers, key=lambda server: server.server_id))
    if problems := find_problems(table, Mesh.of(config.parallel)):
        raise ClusterError(
            f"no rank table can be made for {num_ranks} ranks: {problems[0]}. Give one with --rank-table"
        )
    write_rank_table(table, path)
    return table


class RandomIds:
    """A tokenizer that gives any text as many random ids as it has characters; always the same ones."""

    codec = "random"
    pad_id, eod_id = 0, 1
    fingerprint = "random ids of a rehearsal"

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self._numbers = np.random.default_rng(0)

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text."""
        return [self._numbers.integers(2, self.vocab_size, len(text)).tolist() for text in texts]


def write_random_tokens(config: RunConfig, prefix: Path, num_samples: int) -> None:
    """A token file of random ids, for `num_samples` samples and some more."""
    length = (num_samples + _SPARE_SAMPLES) * config.model.seq_length // _NUM_DOCUMENTS + 1
    pack(["。" * length] * _NUM_DOCUMENTS, RandomIds(config.model.vocab_size), prefix)
