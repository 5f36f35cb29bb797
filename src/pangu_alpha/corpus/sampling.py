"""`pangu corpus sample`: documents of a corpus, drawn at random, as they were and as they are, for eyes."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from pangu_alpha.corpus.cleaning import clean_document
from pangu_alpha.corpus.ledger import read_batches
from pangu_alpha.corpus.plan_file import read_work
from pangu_alpha.corpus.reporting import ledger_files
from pangu_alpha.corpus.sources import read_piece
from pangu_alpha.corpus.sources.text_of import text_of
from pangu_alpha.corpus.work import ROW_BITS
from pangu_alpha.data.order import keys
from pangu_alpha.errors import DataError
from pangu_alpha.files import write_text

_STYLE = (
    "body{font-family:sans-serif;max-width:90em;margin:auto}td{vertical-align:top;width:50%;white-space:pre-wrap;"
    "border:1px solid #ccc;padding:.5em}table{width:100%;border-collapse:collapse}.fell{color:#a00}.stays{color:#070}"
)
_MAX_SHOWN = 4000
"""Characters of a text that are shown."""


@dataclass(frozen=True)
class Drawn:
    """A document of the sample."""

    row: dict[str, object]
    """Of the ledger."""
    before: str
    after: str


def draw(corpus: Path, number: int, seed: int, dropped_by: str | None) -> list[Drawn]:
    """Documents drawn from the ledger, read again from the input.

    Args:
        corpus: that is complete.
        number: of documents.
        seed: the same one draws the same documents.
        dropped_by: what they fell to; "stays" for texts that stay, None for any document.

    Raises:
        DataError: there is no ledger, or no such document in it.
    """
    best = heapq.nsmallest(number, _candidates(corpus, seed, dropped_by), key=lambda pair: pair[0])
    if not best:
        raise DataError(f"{corpus}: no document {f'fell to {dropped_by}' if dropped_by else 'is in the ledger'}")
    rows = {int(str(row["document"])): row for _, row in best}
    work = read_work(corpus.absolute())
    found = []
    for piece in sorted({document >> ROW_BITS for document in rows}):
        source = work.pieces[piece].source
        settings, limits = work.recipe.sources[source], work.recipe.limits
        for place, stored in enumerate(read_piece(work.pieces[piece], limits.document_bytes, settings.fields)):
            row = rows.get((piece << ROW_BITS) + place)
            if row is not None and row["dropped_by"] != "crashed":
                before = text_of(stored, settings.fields, limits.html_depth).text
                found.append(Drawn(row, before, clean_document(stored, source, work.recipe, None).text))
    return found


def write_page(drawn: list[Drawn], path: Path) -> None:
    """An HTML page with each document before and after the rules, side by side."""
    parts = [f"<!doctype html><meta charset=utf-8><title>sample</title><style>{_STYLE}</style>"]
    for one in drawn:
        reason = one.row["dropped_by"]
        verdict = f"<b class=fell>{escape(str(reason))}</b>" if reason else "<b class=stays>stays</b>"
        place = f"{one.row['source']}: {one.row['file']}, {one.row['offset']}"
        values = ", ".join(
            f"{name.removeprefix('rule_')} {value:.4g}"
            for name, value in one.row.items()
            if name.startswith("rule_") and isinstance(value, float)
        )
        parts.append(f"<h4>{verdict} {escape(place)}</h4><p>{escape(values)}</p><table><tr>")
        parts += [
            f"<td>{escape(text[:_MAX_SHOWN])}{'…' if len(text) > _MAX_SHOWN else ''}"
            for text in (one.before, one.after)
        ]
        parts.append("</table>")
    write_text(path, "\n".join(parts))


def _candidates(corpus: Path, seed: int, dropped_by: str | None) -> Iterator[tuple[int, dict[str, object]]]:
    for path in ledger_files(corpus):
        for batch in read_batches(path):
            draws = keys(seed, np.array(batch.column("document").to_pylist(), np.int64))
            for value, row in zip(draws.tolist(), batch.to_pylist(), strict=True):
                if dropped_by is None or (row["dropped_by"] or "stays") == dropped_by:
                    yield value, row
