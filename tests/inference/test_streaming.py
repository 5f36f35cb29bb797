from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pangu_alpha.inference.streaming import TextStream
from pangu_alpha.tokenizer import Tokenizer, load_tokenizer, train_tokenizer

TEXT = "话说天下大势，分久必合，合久必分。\n周末七国分争，并入于秦；及秦灭之后，楚、汉分争，又并入于汉。"


@pytest.fixture(scope="module")
def trained_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path: Path = tmp_path_factory.mktemp("streaming") / "tok"
    train_tokenizer([TEXT], path, 320)
    return load_tokenizer(path)


def pieces(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    stream = TextStream(tokenizer)
    return [*(stream.add(id_) for id_ in ids), stream.finish()]


def test_a_character_of_several_bytes_comes_whole(trained_tokenizer: Tokenizer) -> None:
    text = "天𠮷👍" + "大"
    ids = trained_tokenizer.encode(text)
    assert len(ids) == 10  # 𠮷 and 👍 are not in the vocabulary: four bytes each
    assert [piece for piece in pieces(trained_tokenizer, ids) if piece] == ["天", "𠮷", "👍", "大"]


def test_a_character_that_never_ends_shows_at_the_end_only(trained_tokenizer: Tokenizer) -> None:
    ids = trained_tokenizer.encode("天👍")[:-1]
    *shown, rest = pieces(trained_tokenizer, ids)
    assert "".join(shown) == "天"
    assert set(rest) == {"\ufffd"}


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_pieces_together_are_what_decoding_at_once_gives(trained_tokenizer: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, trained_tokenizer.vocab_size - 1), max_size=30))
    assert "".join(pieces(trained_tokenizer, ids)) == trained_tokenizer.decode(ids)


@given(text=st.text(max_size=30))
@settings(max_examples=100, deadline=None)
def test_no_piece_of_a_text_is_broken(trained_tokenizer: Tokenizer, text: str) -> None:
    text = text.replace("\ufffd", "")
    shown = pieces(trained_tokenizer, trained_tokenizer.encode(text))
    assert "\ufffd" not in "".join(shown[:-1])
    assert "".join(shown) == text
