"""`pangu corpus train`: a classifier of good and bad texts, and the threshold that drops with a wanted precision.

Paper §3.1.1: the spam classifier's bad texts were chosen by hand from Common Crawl, its good ones drawn from the corpus
of high quality.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from pangu_alpha.corpus.rules.classifiers import BAD, GOOD, probability, spaced
from pangu_alpha.corpus.sources import plan_pieces, read_piece
from pangu_alpha.corpus.sources.text_of import text_of
from pangu_alpha.errors import DataError
from pangu_alpha.files import flush, write_text, written_aside
from pangu_alpha.records import to_json

MODEL, INFO = "model.bin", "info.json"
_HELD_OUT = 5
"""Every so many-th text, by a hash of it, is not learned from."""
_MIN_HELD_OUT = 10
_PARAMETERS = {"dim": 16, "wordNgrams": 3, "bucket": 500_000, "epoch": 10, "lr": 0.5, "minCount": 1, "seed": 1}


@dataclass(frozen=True)
class Trained:
    """A classifier, measured on texts that it has not seen."""

    threshold: float
    """Texts with a lower probability of being good are dropped."""
    precision: float
    """Dropped texts that are bad ÷ dropped texts."""
    recall: float
    """Bad texts that are dropped ÷ bad texts."""
    num_good: int
    """Held out."""
    num_bad: int
    """Held out."""


def train(good: Sequence[Path], bad: Sequence[Path], output: Path, precision: float) -> Trained:
    """Write model.bin and info.json to `output`; the same texts give the same files.

    Args:
        good: files or folders of any format that a corpus is made from.
        bad: the same.
        output: folder.
        precision: wanted of what is dropped, above 0 to 1.

    Raises:
        DataError: too few texts, or no threshold has the precision.
    """
    import fasttext

    texts = {GOOD: list(texts_below(good)), BAD: list(texts_below(bad))}
    held = {label: [text for text in some if _is_held_out(text)] for label, some in texts.items()}
    for label, some in held.items():
        if len(some) < _MIN_HELD_OUT:
            raise DataError(
                f"of the {len(texts[label]):,} {label[9:]} texts {len(some)} are held out to measure with (every "
                f"{_HELD_OUT}th), and {_MIN_HELD_OUT} are needed: give more"
            )
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt") as file:
        for label, some in texts.items():
            file.writelines(f"{label} {spaced(text)}\n" for text in some if not _is_held_out(text))
        file.flush()
        model = fasttext.train_supervised(file.name, thread=1, verbose=0, **_PARAMETERS)  # more threads: other numbers
    with written_aside(output / MODEL) as aside:
        model.save_model(str(aside))
        flush(aside)
    name = str(output / MODEL)
    scores = {label: np.array([probability(text, name, GOOD) for text in some]) for label, some in held.items()}
    found = choose_threshold(scores[GOOD], scores[BAD], precision)
    write_text(output / INFO, to_json({"wanted_precision": precision, **asdict(found)}, indent=1) + "\n")
    return found


def choose_threshold(good: NDArray[np.float64], bad: NDArray[np.float64], precision: float) -> Trained:
    """The threshold that drops most bad texts, of those with at least the precision.

    Raises:
        DataError: none has it.
    """
    best = None
    scores = np.unique(np.concatenate([good, bad]))
    for threshold in [*(scores[:-1] + scores[1:]) / 2, 1.0]:  # half way between what is dropped and what stays
        dropped_bad, dropped_good = int((bad < threshold).sum()), int((good < threshold).sum())
        share, recall = dropped_bad / max(1, dropped_bad + dropped_good), dropped_bad / len(bad)
        if dropped_bad and share >= precision and (best is None or recall > best.recall):
            best = Trained(float(threshold), share, recall, len(good), len(bad))
    if best is None:
        raise DataError(
            f"no threshold drops with a precision of {precision}: the classifier takes as many good texts for bad. "
            "Give more texts, or want less"
        )
    return best


def _is_held_out(text: str) -> bool:
    return xxhash.xxh3_64_intdigest(text.encode(errors="replace")) % _HELD_OUT == 0


def texts_below(paths: Sequence[Path]) -> Iterator[str]:
    """The texts of files and folders of any format that a corpus is made from."""
    for piece in plan_pieces([("text", path) for path in paths], ["text"], 1 << 30):
        for stored in read_piece(piece, 10_000_000, ("text",)):
            if text := text_of(stored, ("text",), 1000).text:
                yield text
