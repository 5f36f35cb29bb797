"""Learning the pieces of a lossless tokenizer from text.

Byte-pair encoding, not the unigram model of the released vocabulary: at equal size it needs fewer tokens and learns
more than ten times faster (docs/tokenizer.md has the figures).
"""

from __future__ import annotations

import heapq
import io
import random
import re
import resource
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from sentencepiece import SentencePieceTrainer

from pangu_alpha.errors import TokenizerError
from pangu_alpha.tokenizer.base import check_text
from pangu_alpha.tokenizer.files import new_directory, write_directory
from pangu_alpha.tokenizer.lossless import SPACE_PIECE, SPECIAL_PIECES

MAX_CHARACTERS = 50_000_000
"""Characters that are learnt from unless the caller says otherwise; about 3 GB of memory."""

# A sentence is a line with the line breaks before it: sentencepiece drops those at an end, and so "newline, indent" can
# become a piece. The bounds keep a sentence below the 4,192 bytes above which sentencepiece leaves it out.
_SENTENCES = re.compile(rf"[\r\n]{{0,16}}[^\r\n{SPACE_PIECE}]{{1,1000}}")
_SEED = 1


@dataclass(frozen=True)
class TrainingReport:
    """What a training used."""

    num_documents: int
    """Texts that were read."""
    num_characters: int
    """Characters that were read."""
    num_sentences_used: int
    """Sentences that were learnt from; a sentence is a line, or 1,000 characters of a longer one."""
    num_characters_used: int
    """Their characters."""
    num_bytes_used: int
    """Their bytes in UTF-8."""
    seconds: float
    """Wall time, reading included."""
    peak_memory: int
    """Highest resident memory of this process so far, in bytes."""


def train_tokenizer(
    texts: Iterable[str], output: Path, vocab_size: int, max_characters: int = MAX_CHARACTERS
) -> TrainingReport:
    """Learn `vocab_size` pieces from `texts` and write the tokenizer directory `output`.

    The texts are streamed. When they hold more than `max_characters`, a random sample of their sentences is learnt
    from, so that memory stays bounded (some 70 bytes a character of the sample). The same texts and numbers give the
    same files.

    Raises:
        TokenizerError: `output` exists; the texts are empty, or too few or too varied for `vocab_size` (the message
            names the possible sizes); a text holds half a surrogate pair.
    """
    if max_characters < 1:
        raise TokenizerError(f"--max-characters {max_characters} leaves nothing to learn from: ask for at least 1")
    start = time.monotonic()
    with new_directory(output) as folder:
        sample = _Sample(max_characters)
        for text in texts:
            sample.add(text)
        sentences = sample.sentences()
        if not sentences:
            raise TokenizerError(
                f"no text to learn from: {sample.num_documents} documents with {sample.num_characters} characters, "
                f"of which at most {max_characters} may be used. Give more text"
            )
        counts = {
            "num_documents": sample.num_documents,
            "num_characters": sample.num_characters,
            "num_sentences_used": len(sentences),
            "num_characters_used": sum(map(len, sentences)),
            "num_bytes_used": sum(len(sentence.encode()) for sentence in sentences),
        }
        training = {**counts, "max_characters": max_characters, "sentencepiece": version("sentencepiece")}
        write_directory(folder, _learn(sentences, vocab_size), training)
    return TrainingReport(**counts, seconds=time.monotonic() - start, peak_memory=_peak_memory())


class _Sample:
    """A uniform random sample of sentences within a number of characters, taken in one pass.

    Each sentence draws a number; those with the highest numbers stay.
    """

    def __init__(self, max_characters: int) -> None:
        self.num_documents = self.num_characters = 0
        self._left = max_characters
        self._random = random.Random(_SEED)
        self._num_offered = 0
        self._heap: list[tuple[float, int, str]] = []
        self._highest_dropped = -1.0

    def add(self, text: str) -> None:
        """Offer the sentences of one document."""
        check_text(text)
        self.num_documents += 1
        self.num_characters += len(text)
        for sentence in _SENTENCES.findall(text):
            drawn = self._random.random()
            if drawn > self._highest_dropped:
                heapq.heappush(self._heap, (drawn, self._num_offered, sentence))
                self._left -= len(sentence)
            while self._left < 0:
                self._highest_dropped, _, dropped = heapq.heappop(self._heap)
                self._left += len(dropped)
            self._num_offered += 1

    def sentences(self) -> list[str]:
        """The sample, in the order of the texts."""
        return [sentence for _, _, sentence in sorted(self._heap, key=lambda entry: entry[1])]


def _learn(sentences: Iterable[str], vocab_size: int) -> bytes:
    """The sentencepiece model with exactly `vocab_size` pieces."""
    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            # Every text comes back as it was (see lossless.py for `required_chars`).
            normalization_rule_name="identity",
            byte_fallback=True,
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            required_chars=SPACE_PIECE,
            # A number is a row of digits, so that arithmetic can be learnt.
            split_digits=True,
            # Characters beyond this share of the text are left to the byte pieces.
            character_coverage=0.9995,
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            control_symbols=[piece for piece in SPECIAL_PIECES if piece != "<unk>"],
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _explain(str(error), vocab_size) from error
    return model.getvalue()


def _explain(message: str, vocab_size: int) -> TokenizerError:
    """What sentencepiece's `message` means for the one who asked for `vocab_size` pieces."""
    if found := re.search(r"Vocabulary size too high .* <= (\d+)", message):
        return TokenizerError(
            f"the text is too small for {vocab_size} pieces: it holds {found[1]} at most. "
            f"Ask for a --vocab-size up to {found[1]}, or give more text"
        )
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return TokenizerError(
            f"{vocab_size} pieces are too few: the special pieces, the 256 bytes and the characters of this text "
            f"are {found[1]}. Ask for a --vocab-size of at least {found[1]}"
        )
    return TokenizerError(f"sentencepiece cannot learn {vocab_size} pieces: {message}")


def _peak_memory() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB.
