"""A rehearsal: one recipe's life, and perhaps another's that goes on from its checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pangu_alpha.checkpoint import open_checkpoint
from pangu_alpha.compiler.programs import free_memory
from pangu_alpha.config import RunConfig, load_config, override
from pangu_alpha.console import say, si
from pangu_alpha.data import next_numbers, open_training_data
from pangu_alpha.data.token_file import with_ending
from pangu_alpha.errors import CheckpointError, ConfigError, TrainingError
from pangu_alpha.parallel.start import starting_values
from pangu_alpha.rehearsal.life import Life, Lived, Read, account, live
from pangu_alpha.rehearsal.recipe import (
    Played,
    checked_table,
    chosen_ranks,
    made_table,
    process_memory,
    write_random_tokens,
)
from pangu_alpha.training.resuming import compare_settings
from pangu_alpha.training.runnable import require_runnable

_MEMORY_SHARE = 0.9
"""Of the free memory that the ranks may need together."""


def prepare(
    words: Sequence[str],
    folder: Path,
    num_steps: int,
    ranks: Played,
    table: Path | None = None,
    before: Life | None = None,
) -> Life:
    """What is needed for the life of a recipe; nothing is started.

    Args:
        words: the recipe and its overrides.
        folder: of the rehearsal.
        num_steps: of each life.
        ranks: that get a process. In a later life the last rank stands for those that its recipe does not have.
        table: the rank table; None: one is made.
        before: the life from whose checkpoint this one goes on, with random data where that has it.

    Raises:
        ConfigError: the recipe cannot be trained, or is not for Ascend.
        CheckpointError: it cannot go on from the life before.
        DataError: a token file is not what it should be.
        ClusterError: the rank table is not for it.
    """
    number = 1 if before is None else before.number + 1
    place = folder / f"life_{number}"
    place.mkdir(parents=True, exist_ok=True)
    config, words, has_random_data = _played_recipe(words, folder, number, num_steps, before)
    require_runnable(config, "mindspore", config.parallel.num_devices)
    if before is not None:
        _require_continuation(before, config)
        if ranks is not None and ranks != "all":
            ranks = [min(rank, config.parallel.num_devices - 1) for rank in map(int, ranks)]
    table_path = table or place / "rank_table.json"
    played = chosen_ranks(config, ranks, int(_MEMORY_SHARE * free_memory()))
    if ranks is None:
        _say_what_is_left_out(config, played)
    return Life(
        number=number,
        has_random_data=has_random_data,
        config=config,
        words=words,
        ranks=played,
        table=checked_table(config, table) if table else made_table(config, table_path),
        table_path=table_path,
        logs=place / "logs",
        num_steps=num_steps,
    )


def _played_recipe(
    words: Sequence[str], folder: Path, number: int, num_steps: int, before: Life | None
) -> tuple[RunConfig, tuple[str, ...], bool]:
    """The recipe as life `number` plays it, the words that say so, and whether its data is made here."""
    recipe, *overrides = words
    settings = [
        override("output", folder / "run"),
        f"train.steps={number * num_steps}",
        *(f"train.{name}={number * num_steps}" for name in ("checkpoint_every", "validate_every")),
        "train.keep_checkpoints=2",
        "train.log_every=1",
    ]
    config = load_config(recipe, [*overrides, *settings])
    if config.device != "ascend":
        raise ConfigError(
            f"{recipe} is for device={config.device}: a rehearsal plays Ascend devices. Add device=ascend, or try it "
            "with `pangu train`"
        )
    has_random_data = _lacks_data(config) if before is None else before.has_random_data
    settings += _data_settings(config, folder, num_steps, has_random_data)
    words = (recipe, *overrides, *settings)
    return load_config(recipe, words[1:]), words, has_random_data


def rehearse(lives: Sequence[Life], requests: list[int], tell: Callable[[Life, Lived], None]) -> None:
    """Live through them, each from the checkpoint of the one before, and compare what they leave.

    Args:
        lives: one or two.
        requests: numbers of signals that came, see `Job`.
        tell: gets the account of each life when it is over.

    Raises:
        PanguError: a rank died, or something is not what it should be.
    """
    expected: Read = starting_values(lives[0].config)
    next_sample = 0
    for number, life in enumerate(lives, start=1):
        names, num_ranks = ", ".join(map(str, life.ranks)), life.config.parallel.num_devices
        say(f"life {number} of {len(lives)}: rank(s) {names} of {num_ranks}, logs in {life.logs}, and this is rank 0:")
        begin = time.monotonic()
        checkpoint = live(life, requests)
        lived = account(life, checkpoint, time.monotonic() - begin, expected)
        wanted = int(next_numbers(next_sample, 1, life.config.data.skip_samples)[0])
        if lived.first_sample != wanted:
            raise TrainingError(
                f"life {number} began at sample {lived.first_sample:,}, and {wanted:,} was the next: report this"
            )
        tell(life, lived)
        expected, next_sample = open_checkpoint(checkpoint).read, lived.consumed_samples


def _require_continuation(before: Life, config: RunConfig) -> None:
    """Refuse a recipe that could not go on from the checkpoint of the one before."""
    name = f"the checkpoint of {before.words[0]}"
    compare_settings(before.config.model_dump(mode="json"), config, name)
    theirs, ours = (open_training_data(one).fingerprint for one in (before.config, config))
    if theirs != ours:
        raise CheckpointError(
            f"{name} will be of other training data (files, weights or seed differ): its place in the data would mean "
            "nothing to the second recipe. Give both the same data settings and train.seed"
        )


def _lacks_data(config: RunConfig) -> bool:
    """Whether the recipe names no data, or some that is not on this machine."""
    sources = [*config.data.train, *config.data.validation]
    return not config.data.train or not all(with_ending(source.path, ".json").exists() for source in sources)


def _data_settings(config: RunConfig, folder: Path, num_steps: int, is_random: bool) -> list[str]:
    """Overrides that give the recipe random data, where it is to have that."""
    settings = []
    if config.tokenizer is not None and not config.tokenizer.exists():
        settings.append("tokenizer=null")
    if not is_random:
        return settings
    prefix = folder / "tokens"
    if not with_ending(prefix, ".json").exists():
        write_random_tokens(config, prefix, 2 * num_steps * config.train.batch_size)
    source = [{"path": str(prefix)}]
    return [
        "tokenizer=null",
        "tasks.names=[]",
        "data.mix=null",
        override("data.train", source),
        override("data.validation", source),
    ]


def _say_what_is_left_out(config: RunConfig, played: Sequence[int]) -> None:
    """The stages that the memory does not hold."""
    if len(played) < config.parallel.pp:
        need = max(process_memory(config, rank) for rank in played)
        say(
            f"{len(played)} of {config.parallel.pp} stages get a process: each needs up to {si(need)}B of memory, and "
            f"{si(free_memory())}B are free; --ranks chooses others"
        )
