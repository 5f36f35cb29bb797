from __future__ import annotations

from pathlib import Path

import jieba
import pytest
from sentencepiece import SentencePieceProcessor

from pangu_alpha.errors import TokenizerError
from pangu_alpha.tokenizer import Tokenizer, load_tokenizer


def published_ids(model: Path, text: str) -> list[int]:
    """The published `tokenization_jieba.py`, in its order of steps."""
    translator = str.maketrans(" \n", "\u2582\u2583")
    words = [word.translate(translator) for word in jieba.cut(text, cut_all=False)]
    ids: list[int] = SentencePieceProcessor(model_file=str(model)).encode(" ".join(words))
    return ids


def published_text(model: Path, ids: list[int]) -> str:
    text = SentencePieceProcessor(model_file=str(model)).decode(ids)
    return text.replace(" ", "").replace("\u2582", " ").replace("\u2583", "\n")


TEXTS = [
    "上联：春风得意马蹄疾\n下联：",
    "中国的首都是北京 <eot>",
    "问：《红楼梦》的作者是谁？\n答：曹雪芹\n\n问：PanGu-α 有 2000 亿参数吗？\n答：",
    "第１章\r\n\t“你好”，她说……①②③ ﬁ 𠮷龘😀 \0▂▃▁ <pad></s>",
    "",
    " ",
]


@pytest.mark.parametrize("text", TEXTS)
def test_ids_and_texts_are_the_published_ones(released: Tokenizer, released_path: Path, text: str) -> None:
    ids = released.encode(text)
    assert ids == published_ids(released_path, text)
    assert released.decode(ids) == published_text(released_path, ids)


def test_ids_are_the_ones_on_record(released: Tokenizer, prose: list[str]) -> None:
    # Written down once from jieba 0.42.1 and sentencepiece: an upgrade of either must not change them.
    assert released.encode(TEXTS[0]) == [39, 2401, 17, 12093, 29613, 20502, 8837, 13, 3, 82, 2401, 17]
    assert released.encode(prose[0][:26]) == [
        *(21, 3665, 15, 25939, 10, 1746, 20228, 28045, 3442, 148, 10, 637, 15, 23257, 491, 11, 14100, 84, 12),
    ]


def test_special_ids_come_from_the_file(released: Tokenizer) -> None:
    assert (released.codec, released.vocab_size) == ("pangu_alpha", 40000)
    assert (released.pad_id, released.eod_id, released.eot_id) == (6, 8, 9)


def test_special_pieces_in_a_text_stay_text(released: Tokenizer) -> None:
    for piece in released.special_pieces:
        ids = released.encode(f"甲{piece}乙")
        assert not set(ids) & set(released.special_ids.values())
        assert released.decode(ids) == f"甲{piece}乙"


def test_special_ids_are_left_out_of_the_text(released: Tokenizer) -> None:
    assert released.decode([6, *released.encode("北京 很大\n"), 9, 8]) == "北京 很大\n"


def test_words_added_to_the_global_jieba_change_nothing(released_path: Path) -> None:
    text = "我们在北京的甲乙丙丁戊馆"
    before = load_tokenizer(released_path).encode(text)
    jieba.add_word("在北京的甲乙丙丁戊馆", freq=10**9)
    try:
        assert load_tokenizer(released_path).encode(text) == before
        assert published_ids(released_path, text) != before
    finally:
        jieba.del_word("在北京的甲乙丙丁戊馆")


def test_wrong_input_is_refused(released: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match="id 40000"):
        released.decode([40000])
    with pytest.raises(TokenizerError, match="surrogate"):
        released.encode("北京\ud800")
