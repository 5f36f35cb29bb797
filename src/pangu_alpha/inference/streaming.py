"""Text from tokens as they come: never half a character, and together exactly what decoding all at once gives."""

from __future__ import annotations

from pangu_alpha.tokenizer import Tokenizer

_BROKEN = "\ufffd"


class TextStream:
    """Turns the tokens of one continuation into pieces of text.

    A character outside the vocabulary comes as up to four byte tokens. Decoding some of them gives U+FFFD at the end,
    so tokens wait until the text ends in a whole character.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._waiting: list[int] = []

    def add(self, token: int) -> str:
        """The text that `token` completes; empty while a character is incomplete."""
        self._waiting.append(token)
        text = self._tokenizer.decode(self._waiting)
        if text.endswith(_BROKEN):
            return ""
        self._waiting.clear()
        return text

    def finish(self) -> str:
        """What is still waiting: U+FFFD where a character was never completed."""
        text = self._tokenizer.decode(self._waiting)
        self._waiting.clear()
        return text
