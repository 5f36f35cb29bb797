"""The ledger: a Parquet row for every document of the input, what each rule measured, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pangu_alpha.corpus.recipe import Recipe

if TYPE_CHECKING:
    import pyarrow

_ROWS = 4096
"""Of a row group, and of what is in memory."""
CONTAMINATION = "contamination"
"""The column and the reason of n-grams of evaluation sets."""
EXACT, NEAR = "exact_duplicate", "near_duplicate"


def columns(recipe: Recipe) -> list[str]:
    """The columns of measured numbers: the recipe's rules in order, then contamination if it is looked for."""
    return [*recipe.rules, *([CONTAMINATION] if recipe.contamination.paths else [])]


def schema(recipe: Recipe) -> pyarrow.Schema:
    """Names and types of the columns; `rule_NAME` is null where a document had fallen before, or skips the rule."""
    import pyarrow

    text, number, real = pyarrow.string(), pyarrow.int64(), pyarrow.float64()
    fields: list[tuple[str, Any]] = [
        ("document", number),
        ("source", text),
        ("file", text),
        ("offset", number),
        ("format", text),
        ("encoding", text),
        ("stored_bytes", number),
        ("raw_characters", number),
        ("characters", number),
        *((f"rule_{name}", real) for name in columns(recipe)),
        ("dropped_by", text),
        ("cluster", number),
    ]
    return pyarrow.schema(fields)


class LedgerWriter:
    """Writes a ledger a few thousand rows at a time."""

    def __init__(self, path: Path, recipe: Recipe) -> None:
        import pyarrow.parquet

        self._schema = schema(recipe)
        self._file = pyarrow.parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> LedgerWriter:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._write()
        self._file.close()

    def add(self, row: dict[str, Any]) -> None:
        """Append a row; columns that it has not are null."""
        self._rows.append(row)
        if len(self._rows) == _ROWS:
            self._write()

    def _write(self) -> None:
        import pyarrow

        if self._rows:
            self._file.write_table(pyarrow.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []


def read_batches(path: Path, names: Sequence[str] | None = None) -> Iterable[pyarrow.RecordBatch]:
    """The rows of a ledger in order, a few thousand at a time."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=_ROWS, columns=names)
