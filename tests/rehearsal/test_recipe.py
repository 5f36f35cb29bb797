"""What a recipe gets for its rehearsal."""

from __future__ import annotations

from pathlib import Path

import pytest

from pangu_alpha.cluster.rank_tables.rank_table import read_rank_table
from pangu_alpha.config import load_config
from pangu_alpha.data import open_training_data
from pangu_alpha.errors import ClusterError, ConfigError
from pangu_alpha.rehearsal.recipe import checked_table, chosen_ranks, made_table, process_memory, write_random_tokens

PAPER = load_config("200b_2048", [])


def test_one_rank_a_stage_where_the_memory_holds_them() -> None:
    assert chosen_ranks(PAPER, None, 1 << 60) == tuple(range(0, 2048, 128))


def test_the_first_and_the_last_stage_where_it_does_not() -> None:
    largest = max(process_memory(PAPER, rank) for rank in (0, 1920))
    assert chosen_ranks(PAPER, None, 2 * largest) == (0, 1920)
    assert chosen_ranks(PAPER, None, 3 * largest) == (0, 1024, 1920)
    assert chosen_ranks(PAPER, None, 0) == (0,)


def test_the_ranks_that_are_wanted_and_rank_0() -> None:
    assert chosen_ranks(PAPER, [2047, 5, 5], 0) == (0, 5, 2047)
    assert len(chosen_ranks(PAPER, "all", 0)) == 2048
    with pytest.raises(ConfigError, match=r"rank 2048 cannot be rehearsed: .* has the ranks 0 to 2047"):
        chosen_ranks(PAPER, [2048], 0)


@pytest.mark.parametrize("num_ranks", [1, 4, 8, 16, 2048])
def test_a_table_is_made_for_any_number_of_ranks(num_ranks: int, tmp_path: Path) -> None:
    config = load_config("200b_2048", [f"parallel.dp={num_ranks}", "parallel.mp=1", "parallel.pp=1",
                                       f"train.batch_size={16 * num_ranks}"])  # fmt: skip
    table = made_table(config, tmp_path / "table.json")
    assert read_rank_table(tmp_path / "table.json").num_devices == table.num_devices == num_ranks
    assert checked_table(config, tmp_path / "table.json").by_rank.keys() == set(range(num_ranks))


def test_a_table_of_another_mesh_is_refused(tmp_path: Path) -> None:
    made_table(load_config("200b_1024", []), tmp_path / "table.json")
    with pytest.raises(ClusterError, match="does not fit this job"):
        checked_table(PAPER, tmp_path / "table.json")


def test_random_tokens_are_data_for_the_steps(tmp_path: Path) -> None:
    config = load_config("200b_2048", ["model.seq_length=32", "train.batch_size=256"])
    write_random_tokens(config, tmp_path / "tokens", 512)
    config = load_config("200b_2048", ["model.seq_length=32", f"data.train=[{{path: {tmp_path / 'tokens'}}}]"])
    data = open_training_data(config)
    batch = data.samples([0, 511])
    assert batch.input_ids.max() < config.model.vocab_size and batch.loss_mask.all()
