"""`pangu corpus plan`: how long a corpus takes, and how much memory and disk, from a part of it that is made here."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pangu_alpha.corpus import cleaning
from pangu_alpha.corpus.plan_file import begin, make_plan
from pangu_alpha.corpus.recipe import Recipe
from pangu_alpha.corpus.running import prepare, stages
from pangu_alpha.corpus.sources import Piece, plan_pieces
from pangu_alpha.files import files_below

SAMPLE_BYTES = 2_000_000
"""Of a piece of the sample, unless one compressed file has more."""


@dataclass(frozen=True)
class Forecast:
    """What making a corpus costs; of the sample as measured, of the whole in proportion to the bytes."""

    input_bytes: int
    sample_bytes: int
    seconds: dict[str, float]
    """Of one worker for the whole input, by stage."""
    work_bytes: int
    """On the disk until the corpus is complete."""
    output_bytes: int
    """Texts and ledger, which stay."""
    worker_memory: int
    """Bytes that one worker has at most."""
    texts_share: float
    """Documents of the sample that stay ÷ documents."""


def forecast(
    recipe: Recipe, inputs: Sequence[tuple[str, Path]], seconds: float, advance: Callable[[float], None]
) -> Forecast:
    """Make pieces from all over the input for about `seconds`, and take the rest to be like them.

    Raises:
        DataError: there is nothing to read.
        ConfigError: a word list or model cannot be read.
    """
    whole = plan_pieces(inputs, list(recipe.sources), recipe.limits.piece_bytes)
    pieces = plan_pieces(inputs, list(recipe.sources), min(SAMPLE_BYTES, recipe.limits.piece_bytes))
    with tempfile.TemporaryDirectory() as name:
        output = Path(name)
        sample = _clean_some(recipe, pieces, output / "try", seconds, advance)
        work = begin(output / "sample", make_plan(recipe, sample))
        prepare(work)
        spent: dict[str, float] = {}
        for _, function, num_tasks, words in stages(work):
            begun = time.perf_counter()
            for task in range(num_tasks):
                function(work, task)
            spent[words] = time.perf_counter() - begun
        counts = [work.counts(cleaning.STAGE, piece.number) for piece in sample]
        working = sum(path.stat().st_size for path in files_below(work.output / "work"))
        written = sum(path.stat().st_size for part in ("text", "ledger") for path in files_below(work.output / part))
    sample_bytes = sum(piece.num_bytes for piece in sample)
    input_bytes = sum(piece.num_bytes for piece in whole)
    factor = input_bytes / sample_bytes
    return Forecast(
        input_bytes,
        sample_bytes,
        {words: time_spent * factor for words, time_spent in spent.items()},
        round(working * factor),
        round(written * factor),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        sum(one["by_reason"].get("", 0) for one in counts) / max(1, sum(one["documents"] for one in counts)),
    )


def _clean_some(
    recipe: Recipe, pieces: Sequence[Piece], output: Path, seconds: float, advance: Callable[[float], None]
) -> list[Piece]:
    """Pieces, spread over all of them, as many as are cleaned in the time; at least one that has a byte."""
    work = begin(output, make_plan(recipe, pieces))
    prepare(work)
    chosen: list[Piece] = []
    begun = time.perf_counter()
    for number in _spread(len(pieces)):
        before = time.perf_counter()
        cleaning.clean(work, number)
        chosen.append(pieces[number])
        advance(time.perf_counter() - before)
        # A source may have nothing but empty files, from which nothing follows for the rest.
        if time.perf_counter() - begun > seconds and any(piece.num_bytes for piece in chosen):
            break
    chosen.sort(key=lambda piece: piece.number)
    return [replace(piece, number=number) for number, piece in enumerate(chosen)]


def _spread(count: int) -> list[int]:
    """The numbers below `count`, so that any first ones lie far apart: in the order of their reversed bits."""
    bits = max(1, (count - 1).bit_length())
    return sorted(range(count), key=lambda number: int(f"{number:0{bits}b}"[::-1], 2))
