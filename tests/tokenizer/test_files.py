from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pangu_alpha.errors import TokenizerError
from pangu_alpha.tokenizer import Tokenizer, load_tokenizer, train_tokenizer


@pytest.fixture
def copy(small_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_path, tmp_path / "copy"))


def test_the_fingerprint_follows_the_content_and_not_the_place(
    small: Tokenizer, copy: Path, prose: list[str], tmp_path: Path
) -> None:
    assert load_tokenizer(copy).fingerprint == small.fingerprint
    assert small.fingerprint.startswith("lossless:")
    train_tokenizer(prose, tmp_path / "other", 701)
    assert load_tokenizer(tmp_path / "other").fingerprint != small.fingerprint


def test_what_the_directory_says(copy: Path, prose: list[str]) -> None:
    facts = json.loads((copy / "tokenizer.json").read_text())
    assert (facts["codec"], facts["format"], facts["vocab_size"]) == ("lossless", 1, 700)
    assert facts["special_ids"] == {"<unk>": 0, "<pad>": 1, "<eod>": 2, "<eot>": 3}
    assert (facts["training"]["num_documents"], facts["training"]["num_characters"]) == (2, sum(map(len, prose)))


def test_a_damaged_model_file_is_refused(copy: Path) -> None:
    model = copy / "tokenizer.model"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    with pytest.raises(TokenizerError, match=r"tokenizer\.model is not the file that tokenizer\.json describes"):
        load_tokenizer(copy)


def test_missing_files_are_refused(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="no such tokenizer"):
        load_tokenizer(tmp_path / "nowhere")
    (copy / "tokenizer.model").unlink()
    with pytest.raises(TokenizerError, match=r"tokenizer\.model cannot be read: No such file"):
        load_tokenizer(copy)
    (copy / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match=r"the directory has no tokenizer\.json"):
        load_tokenizer(copy)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("\udcff", "not JSON"),
        ("[1]", "does not describe a tokenizer"),
        ('{"format": 2, "codec": "lossless"}', "format 2, but this version reads 'lossless' in format 1"),
        ('{"format": 1, "codec": "other"}', "codec 'other'"),
        ('{"format": 1, "codec": "lossless"}', "SHA-256 differs"),
    ],
)
def test_a_wrong_description_is_refused(copy: Path, content: str, message: str) -> None:
    (copy / "tokenizer.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(TokenizerError, match=message):
        load_tokenizer(copy)


def test_a_bare_model_that_is_not_the_released_one_is_refused(copy: Path) -> None:
    with pytest.raises(TokenizerError, match=r"not the released vocab\.model.* opened by its directory"):
        load_tokenizer(copy / "tokenizer.model")


def test_a_truncated_released_model_is_refused(released_path: Path, tmp_path: Path) -> None:
    # Sentencepiece loads this one, cut between two pieces, as a vocabulary of 24,643.
    (tmp_path / "vocab.model").write_bytes(released_path.read_bytes()[:400012])
    with pytest.raises(TokenizerError, match="or a damaged one"):
        load_tokenizer(tmp_path / "vocab.model")
