"""Holding out validation text: every n-th document, and long texts cut into pieces when there are too few documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from pangu_alpha.data.documents import Document, find_files, read_documents
from pangu_alpha.errors import DataError
from pangu_alpha.files import written_aside
from pangu_alpha.records import to_json

TRAIN, VALIDATION = "train.jsonl", "validation.jsonl"

_SENTENCE_ENDS = "。！？!?…"


class SplitCounts(NamedTuple):
    """What `split_documents` wrote."""

    num_train: int
    num_validation: int
    were_cut: bool
    """Whether long texts were cut, because there were fewer than 2·n documents."""


def split_documents(
    paths: Iterable[Path],
    output: Path,
    validation_fraction: float = 0.05,
    piece_length: int = 4000,
    advance: Callable[[float], None] | None = None,
) -> SplitCounts:
    """Write the documents of `paths` to `train.jsonl` and, every n-th of them, to `validation.jsonl` in `output`.

    n is 1/validation_fraction, rounded. With fewer than 2·n documents, texts are cut first, see `cut`. The same input
    always gives the same files; they replace older ones when both are complete. Empty documents are left out. What a
    line says besides its text stays with the document, and with all its pieces.

    Args:
        paths: text files or directories.
        output: directory of the two files.
        validation_fraction: from above 0 to 0.5.
        piece_length: characters.
        advance: called with the number of bytes read since the last call.

    Raises:
        DataError: wrong input (see `read_documents`), a number out of its range, too little text to hold any out.
    """
    if not 0 < validation_fraction <= 0.5:
        raise DataError(f"a validation fraction of {validation_fraction} makes no split: give one above 0, at most 0.5")
    if piece_length < 1:
        raise DataError(f"pieces of {piece_length} characters: give 1 or more")
    files = find_files(paths)
    targets = [output / TRAIN, output / VALIDATION]
    if own := [file for file in files for target in targets if target.exists() and file.samefile(target)]:
        raise DataError(f"{own[0]}: would be read and replaced at once. Choose another output directory")
    every = round(1 / validation_fraction)
    documents = (document for document in read_documents(files, advance) if document.text)
    head = list(islice(documents, 2 * every))
    were_cut = len(head) < 2 * every
    if were_cut:
        pieces = ((piece, document.fields) for document in head for piece in cut(document.text, piece_length))
        head, documents = [], (Document(text, fields) for text, fields in pieces)
    try:
        num_documents = _write(chain(head, documents), every, targets)
    except OSError as error:
        raise DataError(f"{output}: cannot be written: {error.strerror}") from error
    return SplitCounts(num_documents - num_documents // every, num_documents // every, were_cut)


def cut(text: str, piece_length: int) -> Iterator[str]:
    """Cut `text` into pieces of `piece_length` to 2·`piece_length` characters, which joined are the text again.

    A piece ends after the first line end in that range, else after the first sentence end, else at its limit. The last
    piece is what is left.
    """
    start = 0
    while len(text) - start > 2 * piece_length:
        window = text[start + piece_length - 1 : start + 2 * piece_length]
        places = (
            [window.find("\n")] if "\n" in window else [window.find(end) for end in _SENTENCE_ENDS if end in window]
        )
        length = piece_length + (min(places) if places else piece_length)
        yield text[start : start + length]
        start += length
    yield text[start:]


def _write(documents: Iterable[Document], every: int, targets: list[Path]) -> int:
    targets[0].parent.mkdir(parents=True, exist_ok=True)
    num_documents = 0
    with ExitStack() as both:
        parts = [both.enter_context(written_aside(target)) for target in targets]
        with ExitStack() as stack:
            train, validation = (stack.enter_context(part.open("w", encoding="utf-8", newline="\n")) for part in parts)
            for num_documents, document in enumerate(documents, start=1):
                file = train if num_documents % every else validation
                file.write(_line(document) + "\n")
        if num_documents < every:
            raise DataError(
                f"only {num_documents} documents or pieces of text, too few to hold out every {every}th: "
                f"give more text, a larger validation fraction or a smaller piece length"
            )
    return num_documents


def _line(document: Document) -> str:
    line = to_json({"text": document.text, **document.fields})
    try:
        line.encode()
    except UnicodeEncodeError:  # a field holds half a surrogate pair, which only an escape can say
        return json.dumps(json.loads(line))
    return line
