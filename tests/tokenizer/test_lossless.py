from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pangu_alpha.errors import TokenizerError
from pangu_alpha.tokenizer import Tokenizer, load_tokenizer

FRAGMENTS = [
    *"故乡的，。０９09 \t\0\x7f\n\r▁▂▃⁇　😀𠮷龘ﬁ①Ｆ\ufeff\ufffd\uffff\u200b\u202e\u2028\U0010ffff",
    *(
        "<unk>",
        "<pad>",
        "<eod>",
        "<eot>",
        "<s>",
        "</s>",
        "<0x0A>",
        "\r\n",
        "\n\n\n",
        "  ",
        "▁▁",
        " ▁ ",
        "👩‍👩‍👧",
        "é",
        "e\u0301",
    ),
    *("没有", "我的故乡", "\n　　我", "The quick fox", "x = {'a': 1}"),
]
TEXTS = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=4), max_size=30).map("".join) | st.text()


@settings(max_examples=400, deadline=None)
@given(text=TEXTS)
@example(text="")
@example(text=" ")
@example(text="▁")
@example(text=" ▁ ▁▁  ▁")
@example(text="<eod>")
@example(text="\0")
@example(text="\r\n\r\n\n\r")
def test_every_text_comes_back_exactly_and_has_no_special_ids(small: Tokenizer, text: str) -> None:
    ids = small.encode(text)
    assert small.decode(ids) == text
    assert not set(ids) & set(small.special_ids.values())


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(TEXTS, max_size=5))
def test_a_batch_is_its_texts_one_by_one(small: Tokenizer, texts: list[str]) -> None:
    assert small.encode_batch(texts) == [small.encode(text) for text in texts]


@settings(max_examples=200, deadline=None)
@given(ids=st.lists(st.integers(0, 699), max_size=40))
def test_any_ids_decode_to_a_text_with_a_utf8_form(small: Tokenizer, ids: list[int]) -> None:
    text = small.decode(ids)
    assert text.encode().decode() == text


def test_a_character_cut_short_decodes_to_the_replacement_character(small: Tokenizer) -> None:
    ids = small.encode("没有龘")
    assert small.decode(ids[:-1]).startswith("没有\ufffd")
    assert small.decode(ids[:-2]).startswith("没有\ufffd")
    assert small.decode(ids[:-3]) == "没有"


def test_special_ids_are_left_out_of_the_text(small: Tokenizer) -> None:
    assert (small.pad_id, small.eod_id, small.eot_id) == (1, 2, 3)
    assert [small.piece(id_) for id_ in range(4)] == ["<unk>", "<pad>", "<eod>", "<eot>"]
    ids = [1, *small.encode("故乡"), 3, 0, *small.encode("老屋"), 2]
    assert small.decode(ids) == "故乡老屋"


def test_words_of_the_training_text_are_pieces(small: Tokenizer, prose: list[str]) -> None:
    assert [small.piece(id_) for id_ in small.encode("故乡没有")] == ["故乡", "没有"]
    text = "".join(prose)
    # A character a token is what a tokenizer without any learnt piece would reach at best.
    assert len(text) / len(small.encode(text)) > 1.2


def test_no_piece_goes_on_across_a_line_break(small: Tokenizer) -> None:
    # `encode` works line by line, which gives sentencepiece's own ids only while this holds.
    pieces = [small.piece(id_) for id_ in range(small.vocab_size)]
    assert "\n　" in {piece[:2] for piece in pieces}
    assert not [piece for piece in pieces if re.search(r"[^\r\n][\r\n]", piece)]


@pytest.mark.parametrize("id_", [-1, 700, 10**12])
def test_an_id_outside_the_vocabulary_is_refused(small: Tokenizer, id_: int) -> None:
    with pytest.raises(TokenizerError, match=f"id {id_} is not in this tokenizer's vocabulary of 700 pieces"):
        small.decode([300, id_])
    with pytest.raises(TokenizerError, match=str(id_)):
        small.piece(id_)


@pytest.mark.parametrize("text", ["故乡\ud83d", "\udc80a"])
def test_half_a_surrogate_pair_is_refused(small: Tokenizer, text: str) -> None:
    position = 2 if text[0] == "故" else 0
    with pytest.raises(TokenizerError, match=rf"\\ud[8c][38][d0] at character {position}, half of a surrogate pair"):
        small.encode(text)
    with pytest.raises(TokenizerError, match="surrogate"):
        small.encode_batch(["a", text])


def test_ids_do_not_depend_on_the_process(small: Tokenizer, small_path: Path, prose: list[str]) -> None:
    assert load_tokenizer(small_path).encode(prose[0]) == small.encode(prose[0])
