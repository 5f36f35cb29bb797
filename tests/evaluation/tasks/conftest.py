"""The data sets' files, and two tokenizers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.evaluation.tasks.published import published, write_published

from pangu_alpha.tokenizer import Tokenizer, load_tokenizer, train_tokenizer


@pytest.fixture(scope="session")
def data_sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data_sets")
    write_published(folder, published())
    return folder


@pytest.fixture(scope="session")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Pieces of several characters, so that tokens can span the end of a context."""
    folder = tmp_path_factory.mktemp("pieces") / "tokenizer"
    train_tokenizer([text for files in published().values() for text in files.values()], folder, 900)
    return load_tokenizer(folder)


@pytest.fixture(scope="session")
def released() -> Tokenizer:
    """The released vocabulary, which is not part of the project."""
    shared = Path(__file__).parents[3].parent / "shared/data"
    path = Path(os.environ.get("PANGU_ALPHA_TEST_DATA", shared)) / "pangu_alpha_vocab.model"
    if not path.exists():
        pytest.skip(f"the released vocab.model is not at {path}; PANGU_ALPHA_TEST_DATA names another folder")
    return load_tokenizer(path)
