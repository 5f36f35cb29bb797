"""The first stage: a piece of the input → its ledger, the texts that stay, and what duplicates are found by."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pangu_alpha.corpus import contamination
from pangu_alpha.corpus.ledger import CONTAMINATION, LedgerWriter
from pangu_alpha.corpus.minhash import band_hashes
from pangu_alpha.corpus.recipe import NearSettings, Recipe
from pangu_alpha.corpus.rules import RULES
from pangu_alpha.corpus.sources import Piece, Stored, read_piece
from pangu_alpha.corpus.sources.text_of import text_of
from pangu_alpha.corpus.work import Work, numbers, save, write_result
from pangu_alpha.reading import read_json

STAGE = "clean"
_TEXTS = 1 << 18
"""Characters of texts that are hashed together."""
EXACT_TYPE = [("high", "<u8"), ("low", "<u8"), ("document", "<u8")]
BAND_TYPE = [("hash", "<u8"), ("content", "<u8"), ("document", "<u8")]


@dataclass
class Cleaned:
    """A document after the rules."""

    text: str
    encoding: str
    raw_characters: int
    values: dict[str, float] = field(default_factory=dict)
    dropped_by: str | None = None


def clean_document(stored: Stored, source: str, recipe: Recipe, ngrams: Path | None) -> Cleaned:
    """Take a stored document through the rules of its source, in order, until one drops it.

    Args:
        stored: the document.
        source: of the recipe that it is from.
        recipe: with `measure_all` the rules go on after one has dropped it.
        ngrams: file of the n-grams of evaluation sets, if any are looked for.
    """
    fields, limits = recipe.sources[source].fields, recipe.limits
    found = text_of(stored, fields, limits.html_depth)
    problem = found.problem or ("" if found.text.strip() else "empty")
    cleaned = Cleaned(found.text, found.encoding, len(found.text), dropped_by=problem or None)
    if problem:
        return cleaned
    for name in recipe.rules_of(source):
        cleaned.text, cleaned.values[name], stays = RULES[name].apply(cleaned.text, recipe.rules[name])
        if not stays and cleaned.dropped_by is None:
            cleaned.dropped_by = name
        if cleaned.dropped_by and not recipe.measure_all:
            return cleaned
    if not cleaned.text.strip():  # the rules have taken all of it
        cleaned.dropped_by = cleaned.dropped_by or "empty"
    if ngrams is not None:
        count = contamination.num_found(cleaned.text, ngrams, recipe.contamination.ngram)
        cleaned.values[CONTAMINATION] = count
        if count > recipe.contamination.max_found:
            cleaned.dropped_by = cleaned.dropped_by or CONTAMINATION
    return cleaned


def clean(work: Work, task: int) -> None:
    """Write the result of a piece; see the module."""
    piece = work.pieces[task]
    poison = work.poison(task)
    bad = set(read_json(poison)) if poison.exists() else set()
    write_result(work.result(STAGE, task), lambda folder: _Cleaning(work, piece, folder, bad).run())
    work.position(task).unlink(missing_ok=True)


def ngrams_path(work: Work) -> Path | None:
    """Where the n-grams of the evaluation sets are."""
    return work.result(CONTAMINATION, 0) / "ngrams.npy" if work.recipe.contamination.paths else None


class _Cleaning:
    """One piece on its way."""

    def __init__(self, work: Work, piece: Piece, folder: Path, bad: set[int]) -> None:
        self._work, self._piece, self._folder, self._bad = work, piece, folder, bad
        self._near = work.recipe.duplicates.near
        self._texts: list[str] = []
        self._num_characters = 0
        self._rows: list[int] = []
        self._ends: list[int] = []
        self._hashes: list[tuple[Any, Any, Any]] = []
        self._counts: Counter[str] = Counter()

    def run(self) -> dict[str, Any]:
        recipe, piece = self._work.recipe, self._piece
        position = self._work.position(piece.number)
        position.parent.mkdir(parents=True, exist_ok=True)
        with (
            LedgerWriter(self._folder / "ledger.parquet", recipe) as ledger,
            (self._folder / "text.bin").open("wb") as self._file,
            position.open("wb", buffering=0) as at,
        ):
            stored_documents = read_piece(piece, recipe.limits.document_bytes, recipe.sources[piece.source].fields)
            for row, stored in enumerate(stored_documents):
                os.pwrite(at.fileno(), row.to_bytes(8, "little"), 0)  # says who it was if this process dies of it
                ledger.add(self._document(row, stored))
            self._hash_texts()
        self._save_indices()
        return {"documents": sum(self._counts.values()), "by_reason": dict(sorted(self._counts.items()))}

    def _document(self, row: int, stored: Stored) -> dict[str, Any]:
        if row in self._bad:
            stored = Stored(stored.file, stored.offset, stored.format, problem="crashed")
        cleaned = clean_document(stored, self._piece.source, self._work.recipe, ngrams_path(self._work))
        self._counts[cleaned.dropped_by or ""] += 1
        if cleaned.dropped_by is None:
            self._keep(row, cleaned.text)
        return {
            "document": int(numbers(self._piece.number, np.array(row))),
            "source": self._piece.source,
            "file": stored.file,
            "offset": stored.offset,
            "format": stored.format,
            "encoding": cleaned.encoding,
            "stored_bytes": len(stored.data),
            "raw_characters": cleaned.raw_characters,
            "characters": len(cleaned.text),
            "dropped_by": cleaned.dropped_by,
            **{f"rule_{name}": value for name, value in cleaned.values.items()},
        }

    def _keep(self, row: int, text: str) -> None:
        data = text.encode(errors="replace")
        self._file.write(data)
        self._rows.append(row)
        self._ends.append((self._ends[-1] if self._ends else 0) + len(data))
        self._texts.append(text)
        self._num_characters += len(text)
        if self._num_characters >= _TEXTS:
            self._hash_texts()

    def _hash_texts(self) -> None:
        if self._texts:
            self._hashes.append(band_hashes(self._texts, self._near or NearSettings(bands=1, rows=1)))
        self._texts, self._num_characters = [], 0

    def _save_indices(self) -> None:
        rows, duplicates = np.array(self._rows, np.int64), self._work.recipe.duplicates
        save(self._folder / "rows.npy", rows)
        save(self._folder / "ends.npy", np.array(self._ends, np.int64))
        documents = numbers(self._piece.number, rows)
        num_bands = self._near.bands if self._near else 0
        exact = np.zeros(len(rows) if duplicates.exact else 0, EXACT_TYPE)
        bands = [np.zeros(0, BAND_TYPE)] * num_bands
        if self._hashes:
            hashes, whole, has_letters = (np.concatenate(parts) for parts in zip(*self._hashes, strict=True))
            if duplicates.exact:
                exact["high"], exact["low"], exact["document"] = whole[:, 0], whole[:, 1], documents
            bands = [
                _band(hashes[has_letters, i], whole[has_letters, 0], documents[has_letters]) for i in range(num_bands)
            ]
        save(self._folder / "exact.npy", np.sort(exact, order=("high", "low", "document")))
        save(self._folder / "bands.npy", np.concatenate(bands) if bands else np.zeros(0, BAND_TYPE))


def _band(hashes: Any, contents: Any, documents: Any) -> Any:
    order = np.lexsort((documents, contents, hashes))
    band = np.zeros(len(hashes), BAND_TYPE)
    band["hash"], band["content"], band["document"] = hashes[order], contents[order], documents[order]
    return band
