"""What a vocabulary is made of."""

from __future__ import annotations

import re

from pangu_alpha.tokenizer.base import Tokenizer
from pangu_alpha.tokenizer.lossless import SPACE_PIECE

_HAN = r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]"
_KINDS = {
    "byte": r"<0x[0-9A-F]{2}>",
    "Han, 1 character": _HAN,
    "Han, 2 characters": _HAN + "{2}",
    "Han, 3 characters": _HAN + "{3}",
    "Han, longer": _HAN + "{4,}",
    "Latin": r"[A-Za-z\u00c0-\u024f]+",
}


def count_pieces(tokenizer: Tokenizer) -> dict[str, int]:
    """Number of pieces of each kind; a leading space does not count as a character."""
    counts = dict.fromkeys(("special", *_KINDS, "other"), 0)
    special = set(tokenizer.special_ids.values())
    for id_ in range(tokenizer.vocab_size):
        piece = tokenizer.piece(id_).removeprefix(SPACE_PIECE)
        kinds = (kind for kind, pattern in _KINDS.items() if re.fullmatch(pattern, piece))
        counts["special" if id_ in special else next(kinds, "other")] += 1
    return counts
