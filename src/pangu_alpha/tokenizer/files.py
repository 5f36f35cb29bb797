"""A tokenizer on disk: a directory with `tokenizer.model` (sentencepiece) and `tokenizer.json` (what it is)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pangu_alpha.errors import TokenizerError
from pangu_alpha.files import written_aside
from pangu_alpha.reading import read_bytes, read_json
from pangu_alpha.tokenizer.base import Tokenizer
from pangu_alpha.tokenizer.lossless import LosslessTokenizer
from pangu_alpha.tokenizer.pangu_alpha import RELEASED_SHA256, PanguAlphaTokenizer

MODEL_FILE = "tokenizer.model"
FACTS_FILE = "tokenizer.json"
FORMAT = 1
"""Version of the directory's layout and of the lossless codec's rules."""


def load_tokenizer(path: Path | str) -> Tokenizer:
    """Open the tokenizer directory `path`, or the released `vocab.model`.

    Raises:
        TokenizerError: `path` is neither, a file is missing or damaged, or a newer version of this package wrote it.
    """
    path = Path(path)
    if path.is_dir():
        return _load_directory(path)
    if not path.exists():
        raise TokenizerError(
            f"{path}: no such tokenizer. Give a directory made by `pangu tokenizer train`, or a .model file"
        )
    model = _read(path)
    if hashlib.sha256(model).hexdigest() != RELEASED_SHA256:
        raise TokenizerError(
            f"{path} is not the released vocab.model, or a damaged one (its SHA-256 is not {RELEASED_SHA256[:8]}…). "
            f"A tokenizer made by `pangu tokenizer train` is opened by its directory"
        )
    return PanguAlphaTokenizer(model)


def write_directory(folder: Path, model: bytes, training: Mapping[str, object]) -> None:
    """Write both files of a lossless tokenizer into `folder`. Equal arguments give equal bytes."""
    tokenizer = LosslessTokenizer(model)
    facts = {
        "format": FORMAT,
        "codec": tokenizer.codec,
        "vocab_size": tokenizer.vocab_size,
        "special_ids": tokenizer.special_ids,
        "model_sha256": hashlib.sha256(model).hexdigest(),
        "training": training,
    }
    (folder / MODEL_FILE).write_bytes(model)
    (folder / FACTS_FILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Yield an empty directory that takes the name `path` when the block ends well, and goes away when it does not.

    Raises:
        TokenizerError: `path` exists already, or cannot be written.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise TokenizerError(f"{path} exists already. Choose another --output, or remove it first")
    try:
        with written_aside(path) as aside:
            aside.mkdir(parents=True)
            yield aside
    except OSError as error:
        raise TokenizerError(f"the tokenizer {path} was not written: {error}") from error


def _load_directory(path: Path) -> Tokenizer:
    facts_file, model_file = path / FACTS_FILE, path / MODEL_FILE
    if not facts_file.exists():
        raise TokenizerError(f"{path} is not a tokenizer: the directory has no {FACTS_FILE}")
    facts = _read_facts(facts_file)
    if facts.get("format") != FORMAT or facts.get("codec") != LosslessTokenizer.codec:
        raise TokenizerError(
            f"{facts_file}: codec {facts.get('codec')!r} in format {facts.get('format')!r}, but this version reads "
            f"{LosslessTokenizer.codec!r} in format {FORMAT}. Use the version of pangu-alpha that made it"
        )
    model = _read(model_file)
    if hashlib.sha256(model).hexdigest() != facts.get("model_sha256"):
        raise TokenizerError(
            f"{model_file} is not the file that {FACTS_FILE} describes (its SHA-256 differs). Copy the directory again"
        )
    return LosslessTokenizer(model)


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        facts = read_json(path)
    except OSError as error:
        raise TokenizerError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise TokenizerError(f"{path} is not JSON ({error}). Copy the directory again") from error
    if not isinstance(facts, dict):
        raise TokenizerError(f"{path} does not describe a tokenizer. Copy the directory again")
    return facts


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except OSError as error:
        raise TokenizerError(f"{path} cannot be read: {error.strerror}") from error
