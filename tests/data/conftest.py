"""Real Chinese text, and a tokenizer simple enough to check by hand: one id a UTF-8 byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pangu_alpha.data import TokenFile, open_token_file, pack

SANGUO = (
    "话说天下大势，分久必合，合久必分。周末七国分争，并入于秦；及秦灭之后，楚、汉分争，又并入于汉。"
    "汉朝自高祖斩白蛇而起义，一统天下，后来光武中兴，传至献帝，遂分为三国。\n推其致乱之由，殆始于桓、灵二帝。"
)
CHUSHIBIAO = (
    "先帝创业未半而中道崩殂，今天下三分，益州疲弊，此诚危急存亡之秋也。\n"
    "然侍卫之臣不懈于内，忠志之士忘身于外者，盖追先帝之殊遇，欲报之于陛下也。\n"
)
LUNYU = [
    "子曰：「學而時習之，不亦說乎？有朋自遠方來，不亦樂乎？人不知而不慍，不亦君子乎？」",
    "有子曰：「其為人也孝弟，而好犯上者，鮮矣；不好犯上，而好作亂者，未之有也。」",
    "曾子曰：「吾日三省吾身：為人謀而不忠乎？與朋友交而不信乎？傳不習乎？」",
]


class ByteTokenizer:
    """Id 0 pads, id 1 ends a document, id 3 + b is the byte b."""

    codec = "bytes"
    pad_id, eod_id = 0, 1

    def __init__(self, vocab_size: int = 259, fingerprint: str = "bytes-1") -> None:
        self.vocab_size, self.fingerprint = vocab_size, fingerprint

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [[3 + byte for byte in text.encode()] for text in texts]

    def decode(self, ids: list[int]) -> str:
        return bytes(token - 3 for token in ids if token >= 3).decode(errors="replace")


@pytest.fixture
def chinese_documents() -> list[str]:
    return [SANGUO, *LUNYU, CHUSHIBIAO]


@pytest.fixture
def byte_tokenizer() -> ByteTokenizer:
    return ByteTokenizer()


@pytest.fixture
def make_byte_tokenizer() -> Callable[..., ByteTokenizer]:
    return ByteTokenizer


@pytest.fixture
def packed(tmp_path: Path, byte_tokenizer: ByteTokenizer, chinese_documents: list[str]) -> TokenFile:
    """The Chinese documents as the token file `packed`."""
    pack(chinese_documents, byte_tokenizer, tmp_path / "packed")
    return open_token_file(tmp_path / "packed")
