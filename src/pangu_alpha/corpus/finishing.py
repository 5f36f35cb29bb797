"""The last stage: a piece's texts that stay → a shard for `pangu data pack`, and its ledger, duplicates named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from pangu_alpha.corpus import cleaning
from pangu_alpha.corpus.duplicates.clustering import duplicates_of, leaders_of
from pangu_alpha.corpus.ledger import EXACT, NEAR, read_batches, schema
from pangu_alpha.corpus.work import ROW_BITS, Work, load, write_result
from pangu_alpha.files import flush, remove_leftovers, written_aside
from pangu_alpha.records import to_json

if TYPE_CHECKING:
    import pyarrow

STAGE = "finish"
LEDGER, TEXT = "ledger", "text"


def ledger_path(work: Work, piece: int) -> Path:
    """Where the ledger of a piece goes."""
    return work.output / LEDGER / f"{piece:06d}.parquet"


def text_path(work: Work, piece: int) -> Path:
    """Where the texts of a piece that stay go, if there are any."""
    return work.output / TEXT / work.pieces[piece].source / f"{piece:06d}.jsonl.zst"


def finish(work: Work, task: int) -> None:
    """Write ledger and texts of a piece; then its result, which says how many fell to what."""
    reasons: dict[int, str] = {}
    clusters: dict[int, int] = {}
    documents, leaders, equal = duplicates_of(work, task)
    same = set(equal.tolist())
    for document, leader in zip(documents.tolist(), leaders.tolist(), strict=True):
        reasons[document] = EXACT if document in same else NEAR
        clusters[document] = leader
    clusters |= {document: document for document in leaders_of(work, task).tolist()}
    counts = _write_ledger(work, task, reasons, clusters)
    kept = _write_texts(work, task, set(reasons))

    def write(folder: Path) -> dict[str, Any]:
        return {"by_reason": dict(sorted(counts.items())), **kept}

    write_result(work.result(STAGE, task), write)


def _write_ledger(work: Work, task: int, reasons: dict[int, str], clusters: dict[int, int]) -> Counter[str]:
    import pyarrow.parquet

    counts: Counter[str] = Counter()
    path = ledger_path(work, task)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    columns = schema(work.recipe)
    with written_aside(path) as aside:
        with pyarrow.parquet.ParquetWriter(aside, columns, compression="zstd") as file:
            for batch in read_batches(work.result(cleaning.STAGE, task) / "ledger.parquet"):
                marked = _mark(batch, reasons, clusters)
                counts.update(reason or "" for reason in marked.column("dropped_by").to_pylist())
                file.write_batch(marked)
        flush(aside)
    return counts


def _mark(batch: pyarrow.RecordBatch, reasons: dict[int, str], clusters: dict[int, int]) -> pyarrow.RecordBatch:
    """`batch` with the duplicates in it named."""
    import pyarrow

    documents = batch.column("document").to_pylist()
    dropped = [
        reason or reasons.get(document)
        for document, reason in zip(documents, batch.column("dropped_by").to_pylist(), strict=True)
    ]
    columns = {
        **{name: batch.column(name) for name in batch.schema.names},
        "dropped_by": pyarrow.array(dropped, pyarrow.string()),
        "cluster": pyarrow.array([clusters.get(document) for document in documents], pyarrow.int64()),
    }
    return pyarrow.RecordBatch.from_pydict(columns, schema=batch.schema)


def _write_texts(work: Work, task: int, dropped: set[int]) -> dict[str, int]:
    path = text_path(work, task)
    remove_leftovers(path)
    num_texts = num_characters = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside:
        with aside.open("wb") as file, zstandard.ZstdCompressor(level=3).stream_writer(file) as stream:
            for document, text in _texts(work, task):
                if document not in dropped:
                    entry = {"text": text, "source": work.pieces[task].source, "document": document}
                    stream.write(to_json(entry).encode() + b"\n")
                    num_texts += 1
                    num_characters += len(text)
        flush(aside)
    if not num_texts:  # `pangu data pack` need not open it
        path.unlink()
    return {"texts": num_texts, "characters": num_characters}


def _texts(work: Work, task: int) -> Iterator[tuple[int, str]]:
    folder = work.result(cleaning.STAGE, task)
    rows: NDArray[np.int64] = load(folder / "rows.npy")
    start = 0
    with (folder / "text.bin").open("rb") as file:
        for row, end in zip(rows.tolist(), load(folder / "ends.npy").tolist(), strict=True):
            yield (task << ROW_BITS) + row, file.read(end - start).decode()
            start = end
