"""`pangu corpus run`: the stages in their order, what is done already left out, and the sums at the end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangu_alpha.console import progress, say
from pangu_alpha.corpus import cleaning, contamination, finishing
from pangu_alpha.corpus.duplicates import clustering, comparing, grouping
from pangu_alpha.corpus.engine import DIED, Engine, Task
from pangu_alpha.corpus.ledger import CONTAMINATION
from pangu_alpha.corpus.plan_file import begin, make_plan
from pangu_alpha.corpus.recipe import Recipe
from pangu_alpha.corpus.sources import plan_pieces
from pangu_alpha.corpus.work import Work, save, write_result
from pangu_alpha.errors import CorpusError
from pangu_alpha.files import remove, write_text
from pangu_alpha.locks import only_one
from pangu_alpha.reading import read_json

SUMMARY = "summary.json"
_MAX_POISON = 100
"""Documents of a piece that may end the process which looks at them."""


@dataclass(frozen=True)
class Summary:
    """What became of the documents."""

    documents: int
    """Of the input: rows of the ledger."""
    texts: int
    """Documents that stay."""
    characters: int
    """Of the texts that stay."""
    by_source: dict[str, dict[str, int]]
    """For each source, how many fell to what; "" stays."""


def run_corpus(recipe: Recipe, inputs: Sequence[tuple[str, Path]], output: Path, engine: Engine) -> Summary:
    """Make the corpus in `output`, or go on with it.

    Raises:
        ConfigError: `output` holds another corpus, a word list or model cannot be read.
        DataError: there is nothing to read.
        CorpusError: a stage cannot go on, or sums do not agree.
        OSError: the disk is full, or a file cannot be read.
    """
    output = output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    with only_one(output / ".lock", f"the corpus {output}", "choose another --output"):
        pieces = plan_pieces(inputs, list(recipe.sources), recipe.limits.piece_bytes)
        work = begin(output, make_plan(recipe, pieces))
        if (output / SUMMARY).exists():
            say(f"{output} is complete already")
            return read_summary(output)
        prepare(work)
        for stage in stages(work):
            _do(engine, work, *stage)
        summary = _sum_up(work)
        write_text(output / SUMMARY, json.dumps(summary.__dict__, ensure_ascii=False, indent=1))
        remove(output / "work")
        return summary


def read_summary(output: Path) -> Summary:
    """What a complete corpus says of itself.

    Raises:
        CorpusError: the file is damaged.
    """
    try:
        return Summary(**read_json(output / SUMMARY))
    except (ValueError, TypeError) as error:
        raise CorpusError(
            f"{output / SUMMARY} is damaged ({error}); texts and ledger are not. Remove the file, and the same command "
            "makes the corpus again"
        ) from error


def prepare(work: Work) -> None:
    """Write what all tasks of the first stage read."""
    if work.recipe.contamination.paths and not work.is_done(CONTAMINATION, 0):

        def write(folder: Path) -> dict[str, Any]:
            found = contamination.collect(work.recipe)
            save(folder / "ngrams.npy", found)
            return {"ngrams": len(found)}

        write_result(work.result(CONTAMINATION, 0), write)


def stages(work: Work) -> Iterator[tuple[str, Task, int, str]]:
    """Name, function, number of tasks and words to show of each stage, asked for when those before are done."""
    num_pieces, settings = len(work.pieces), work.recipe.duplicates
    yield cleaning.STAGE, cleaning.clean, num_pieces, "cleaning"
    kept = sum(work.counts(cleaning.STAGE, task)["by_reason"].get("", 0) for task in range(num_pieces))
    parts = grouping.num_parts(kept)
    if settings.exact:
        yield grouping.EXACT_STAGE, grouping.group_exact, parts, "equal texts"
    if settings.near:
        yield grouping.CANDIDATE_STAGE, grouping.group_band, parts * settings.near.bands, "candidates"
        yield comparing.STAGE, comparing.compare, num_pieces, "comparing"
    yield clustering.STAGE, clustering.cluster, 1, "clusters"
    yield finishing.STAGE, finishing.finish, num_pieces, "writing"


def _do(engine: Engine, work: Work, stage: str, function: Task, num_tasks: int, words: str) -> None:
    waiting = [task for task in range(num_tasks) if not work.is_done(stage, task)]
    weights = [piece.num_bytes for piece in work.pieces] if num_tasks == len(work.pieces) else [1] * num_tasks
    unit = "bytes" if num_tasks == len(work.pieces) else "tasks"
    done = sum(weights) - sum(weights[task] for task in waiting)
    dead = []
    with progress(words, sum(weights), unit, done) as advance:
        for task, end in engine.map(function, work.output, waiting):
            if end == DIED:
                dead.append(task)
            else:
                advance(weights[task])
        for task in sorted(dead):
            _again(engine, work, stage, function, task)
            advance(weights[task])


def _again(engine: Engine, work: Work, stage: str, function: Task, task: int) -> None:
    """Do a task whose process has died, alone; a document at which it dies again is left out by name."""
    for _ in range(_MAX_POISON):
        if work.is_done(stage, task):  # it died of something that came later
            return
        position = work.position(task)
        position.unlink(missing_ok=True)
        [(_, end)] = engine.map(function, work.output, [task])
        if end != DIED:
            return
        if stage != cleaning.STAGE or not position.exists():
            break
        row = int.from_bytes(position.read_bytes(), "little")
        path = work.poison(task)
        path.parent.mkdir(parents=True, exist_ok=True)
        bad = read_json(path) if path.exists() else []
        write_text(path, json.dumps(sorted({*bad, row})))
        say(f"document {row} of piece {task} ends the process that looks at it: it is left out as `crashed`")
    raise CorpusError(
        f"the process of task {task} of the stage {stage!r} dies each time, perhaps for want of memory (`dmesg` "
        "tells): give fewer --workers, or smaller limits.piece_bytes; what is done is kept"
    )


def _sum_up(work: Work) -> Summary:
    """Count what the shards and ledgers on the disk hold.

    Raises:
        CorpusError: a document of the input is in no ledger, or one that stays is in no shard.
    """
    import pyarrow.parquet

    by_source: dict[str, Counter[str]] = {}
    documents = texts = characters = 0
    for piece in work.pieces:
        cleaned, finished = (work.counts(stage, piece.number) for stage in (cleaning.STAGE, finishing.STAGE))
        rows = pyarrow.parquet.read_metadata(finishing.ledger_path(work, piece.number)).num_rows
        kept = finished["by_reason"].get("", 0)
        if rows != cleaned["documents"] or kept != finished["texts"]:
            raise CorpusError(
                f"piece {piece.number}: {cleaned['documents']} documents were read and {rows} are in the ledger; "
                f"{kept} should stay and {finished['texts']} are in the shard. Remove {work.output} and start again"
            )
        by_source.setdefault(piece.source, Counter()).update(finished["by_reason"])
        documents, texts, characters = documents + rows, texts + kept, characters + finished["characters"]
    return Summary(
        documents, texts, characters, {name: dict(sorted(count.items())) for name, count in by_source.items()}
    )
