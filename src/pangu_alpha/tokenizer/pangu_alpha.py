"""The published recipe (paper §3.1, and the code released with it): jieba words, then sentencepiece.

It loses information by design: the model normalises (NFKC, so ，becomes `,`), drops tabs, and has no piece for rare
characters. It is here for the released checkpoints, whose ids it gives exactly.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING

from pangu_alpha.tokenizer.base import Tokenizer, check_text

if TYPE_CHECKING:
    import jieba

RELEASED_SHA256 = "18857e86783e50cfcaa0bc3c043fb4e9b5f240b885d2870ea593ee69b44f7a3a"
"""Of the released `vocab.model`, 879,697 bytes. A truncated one can load without a complaint and give other ids."""

_TO_PIECES = str.maketrans(" \n", "\u2582\u2583")
_TO_TEXT = str.maketrans({" ": None, "\u2582": " ", "\u2583": "\n"})


class PanguAlphaTokenizer(Tokenizer):
    """The released `vocab.model`: 40,000 pieces, `<pad>` 6, `<eod>` 8, `<eot>` 9.

    Special pieces in a text stay text, because jieba cuts at `<` and `>`.
    """

    codec = "pangu_alpha"
    special_pieces = ("<s>", "</s>", "<sep>", "<pad>", "<mask>", "<eod>", "<eot>")

    @cached_property
    def _words(self) -> jieba.Tokenizer:
        # Imported at the first use: it takes 0.2 s, and 0.7 s more to read its dictionary. An instance of our own:
        # words that other code adds to jieba's global one would change the ids.
        import jieba

        jieba.setLogLevel(logging.WARNING)
        return jieba.Tokenizer()

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, those of the published code. See `Tokenizer.encode`."""
        check_text(text)
        words = [word.translate(_TO_PIECES) for word in self._words.cut(text, cut_all=False)]
        ids: list[int] = self._model.encode(" ".join(words), num_threads=1)
        return ids

    def _join(self, ids: list[int]) -> str:
        text: str = self._model.decode(ids)
        return text.translate(_TO_TEXT)
