"""What every tokenizer offers, whichever codec is behind it."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from sentencepiece import SentencePieceProcessor

from pangu_alpha.errors import TokenizerError


class Tokenizer(ABC):
    """A sentencepiece model and the codec around it; `load_tokenizer` makes one from a file whose hash it knows."""

    codec: ClassVar[str]
    """Name of the recipe between text and sentencepiece."""
    special_pieces: ClassVar[tuple[str, ...]]
    """Pieces that are a signal to the network and never text."""
    vocab_size: int
    """Ids are below this number."""
    special_ids: dict[str, int]
    """Id of each of `special_pieces`, as the model file has it."""
    pad_id: int
    """Fills samples; never a target."""
    eod_id: int
    """Ends a document in the training data."""
    eot_id: int
    """Ends a text that is generated or scored."""
    fingerprint: str
    """Codec and hash of the model file: equal for two tokenizers that give the same ids."""

    def __init__(self, model: bytes) -> None:
        self._model = SentencePieceProcessor(model_proto=model)
        self.vocab_size = len(self._model)
        self.special_ids = {piece: self._model.piece_to_id(piece) for piece in self.special_pieces}
        self._special = frozenset(self.special_ids.values())
        self.pad_id, self.eod_id, self.eot_id = (self.special_ids[piece] for piece in ("<pad>", "<eod>", "<eot>"))
        self.fingerprint = f"{self.codec}:{hashlib.sha256(model).hexdigest()[:16]}"

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Ids of `text`. No special id is ever among them.

        Raises:
            TokenizerError: the text holds half a surrogate pair, which is no character.
        """

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]:
        """Ids of each of `texts`; raises what `encode` raises."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of `ids`. Special ids are left out; bytes that are not a whole character become U+FFFD.

        Raises:
            TokenizerError: an id is not in the vocabulary.
        """
        ids = [self._check_id(id_) for id_ in ids]
        return self._join([id_ for id_ in ids if id_ not in self._special])

    def piece(self, id_: int) -> str:
        """The piece behind an id, as it is in the model file (a space is ▁, a byte <0x0A>).

        Raises:
            TokenizerError: the id is not in the vocabulary.
        """
        piece: str = self._model.id_to_piece(self._check_id(id_))
        return piece

    @abstractmethod
    def _join(self, ids: list[int]) -> str:
        """Text of ids that are in the vocabulary and not special."""

    def _check_id(self, id_: int) -> int:
        if not 0 <= id_ < self.vocab_size:
            raise TokenizerError(
                f"id {id_} is not in this tokenizer's vocabulary of {self.vocab_size} pieces: "
                f"use the tokenizer that the ids were made with"
            )
        return int(id_)


def check_text(text: str) -> None:
    """Raise `TokenizerError` for a text that has no UTF-8 form, and so no tokens."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TokenizerError(
            f"the text holds \\u{ord(text[error.start]):04x} at character {error.start}, half of a surrogate pair, "
            f"which is no character: repair the text where it was decoded"
        ) from error
