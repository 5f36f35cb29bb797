"""The default codec: sentencepiece alone, set so that every text comes back exactly as it was.

Sentencepiece itself does not promise that. Three things make it true:

- No normalisation, no dummy prefix, extra spaces kept, and bytes for what is not in the vocabulary (see `train.py`).
- Sentencepiece writes a space as ▁ (U+2581), so a ▁ in the text would come back as a space. It goes around
  sentencepiece as its three byte pieces, which decode to ▁. The piece ▁ itself is always in the vocabulary: a space
  without a piece would fall back to the bytes of ▁.
- The special pieces are control pieces, which sentencepiece never finds in a text: "<eod>" in a text stays text.
"""

from __future__ import annotations

import re

from pangu_alpha.tokenizer.base import Tokenizer, check_text

SPACE_PIECE = "\u2581"
"""How sentencepiece writes a space."""
SPECIAL_PIECES = ("<unk>", "<pad>", "<eod>", "<eot>")
"""Pieces with the ids 0 to 3. `<unk>` is sentencepiece's own; no text encodes to it."""

# A merge never crosses the start of a line break, because no training sentence does (see `train.py`). So encoding line
# by line gives the same ids, in time that grows with the length of the text and not faster.
_LINES = re.compile(r"[\r\n]*[^\r\n]+|[\r\n]+")


class LosslessTokenizer(Tokenizer):
    """`decode(encode(text)) == text` for every text that has a UTF-8 form."""

    codec = "lossless"
    special_pieces = SPECIAL_PIECES

    def __init__(self, model: bytes) -> None:
        super().__init__(model)
        self._space_piece_bytes = [self._model.piece_to_id(f"<0x{byte:02X}>") for byte in SPACE_PIECE.encode()]

    def encode(self, text: str) -> list[int]:
        """Ids of `text`. See `Tokenizer.encode`."""
        check_text(text)
        ids: list[int] = []
        for number, part in enumerate(text.split(SPACE_PIECE)):
            if number:
                ids += self._space_piece_bytes
            for line in self._model.encode(_LINES.findall(part), num_threads=1):
                ids += line
        return ids

    def _join(self, ids: list[int]) -> str:
        text: str = self._model.decode(ids)
        return text
