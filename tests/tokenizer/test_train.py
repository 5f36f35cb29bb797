from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pangu_alpha.errors import TokenizerError
from pangu_alpha.tokenizer import load_tokenizer, train_tokenizer


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_equal_text_gives_equal_files(prose: list[str], small_path: Path, tmp_path: Path) -> None:
    train_tokenizer(iter(prose), tmp_path / "again", 700)
    assert contents(tmp_path / "again") == contents(small_path)


def test_a_sample_is_bounded_and_repeatable(prose: list[str], tmp_path: Path) -> None:
    texts = [f"{number}号文件。{prose[number % 2]}" for number in range(40)]
    report = train_tokenizer(texts, tmp_path / "a", 560, max_characters=4000)
    train_tokenizer(texts, tmp_path / "b", 560, max_characters=4000)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert (report.num_documents, report.num_characters) == (40, sum(map(len, texts)))
    assert 3000 < report.num_characters_used <= 4000
    assert report.num_bytes_used > 2 * report.num_characters_used
    assert report.peak_memory > 10**7
    tokenizer = load_tokenizer(tmp_path / "a")
    assert tokenizer.decode(tokenizer.encode("".join(texts))) == "".join(texts)


def test_a_sample_does_not_prefer_the_start(tmp_path: Path) -> None:
    texts = [*["天地玄黄。"] * 500, *["宇宙洪荒。"] * 500]
    train_tokenizer(texts, tmp_path / "t", 280, max_characters=400)
    tokenizer = load_tokenizer(tmp_path / "t")
    assert len(tokenizer.encode("天地玄黄")) == len(tokenizer.encode("宇宙洪荒")) == 1


def test_the_largest_size_that_is_named_works(prose: list[str], tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="too small for 16000 pieces: it holds") as caught:
        train_tokenizer(prose, tmp_path / "t", 16000)
    largest = int(re.findall(r"--vocab-size up to (\d+)", str(caught.value))[0])
    train_tokenizer(prose, tmp_path / "t", largest)
    assert load_tokenizer(tmp_path / "t").vocab_size == largest


def test_the_smallest_size_that_is_named_works(prose: list[str], tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="300 pieces are too few") as caught:
        train_tokenizer(prose, tmp_path / "t", 300)
    smallest = int(re.findall(r"--vocab-size of at least (\d+)", str(caught.value))[0])
    train_tokenizer(prose, tmp_path / "t", smallest)
    tokenizer = load_tokenizer(tmp_path / "t")
    assert tokenizer.vocab_size == smallest
    assert tokenizer.decode(tokenizer.encode(prose[0])) == prose[0]


@pytest.mark.parametrize("vocab_size", [0, -3])
def test_a_size_that_is_none_is_refused(prose: list[str], tmp_path: Path, vocab_size: int) -> None:
    with pytest.raises(TokenizerError, match=f"cannot learn {vocab_size} pieces"):
        train_tokenizer(prose, tmp_path / "t", vocab_size)


def test_nothing_to_learn_from_is_refused(prose: list[str], tmp_path: Path) -> None:
    for texts in ([], ["", "\n"], ["▁▁"]):
        with pytest.raises(TokenizerError, match=f"no text to learn from: {len(texts)} documents"):
            train_tokenizer(texts, tmp_path / "t", 300)
    with pytest.raises(TokenizerError, match="--max-characters 0"):
        train_tokenizer(prose, tmp_path / "t", 300, max_characters=0)


def test_unusual_training_text_keeps_the_round_trip(tmp_path: Path) -> None:
    text = "甲\t乙\r\n\r\n  丙 ▁丁\0戊 <eod><unk><0x41> 12345 😀\n" * 20 + "没有换行的长句。" * 2000
    train_tokenizer([text], tmp_path / "t", 300)
    tokenizer = load_tokenizer(tmp_path / "t")
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not set(ids) & set(tokenizer.special_ids.values())
    assert len(tokenizer.encode("12345")) == 5
    # A line above sentencepiece's bound on a sentence was cut, not left out.
    assert len(tokenizer.encode("没有换行的长句")) < 7


def test_half_a_surrogate_pair_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="surrogate"):
        train_tokenizer(["故乡\ud800"], tmp_path / "t", 300)


def test_what_stops_a_training_leaves_nothing_behind(prose: list[str], tmp_path: Path) -> None:
    def stopped() -> Iterator[str]:
        yield from prose
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_tokenizer(stopped(), tmp_path / "t", 700)
    with pytest.raises(TokenizerError):
        train_tokenizer(prose, tmp_path / "t", 16000)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_tokenizer_is_not_touched(prose: list[str], tmp_path: Path) -> None:
    train_tokenizer(prose, tmp_path / "t", 700)
    before = contents(tmp_path / "t")
    with pytest.raises(TokenizerError, match="exists already"):
        train_tokenizer(prose, tmp_path / "t", 600)
    assert contents(tmp_path / "t") == before
    (tmp_path / "empty").mkdir()
    train_tokenizer(prose, tmp_path / "empty", 700)
    assert contents(tmp_path / "empty") == before


def test_a_place_that_cannot_be_written_is_refused(prose: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TokenizerError, match="was not written"):
        train_tokenizer(prose, tmp_path / "file" / "t", 700)
