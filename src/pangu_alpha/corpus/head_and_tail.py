"""`pangu corpus train --web`: a language model of good texts, and where it cuts web texts into head, middle and tail.

CCNet cuts each language at the perplexities below which 30 % and 60 % of its web pages are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from pangu_alpha.corpus.rules.perplexity import learn, perplexity
from pangu_alpha.corpus.training import texts_below
from pangu_alpha.errors import DataError
from pangu_alpha.files import write_text
from pangu_alpha.records import to_json

MODEL, INFO = "model.ngrams", "info.json"
_SHARES = (0.3, 0.6)
_MIN_WEB = 100
"""Web texts of which the quantiles mean anything."""


@dataclass(frozen=True)
class Cuts:
    """Perplexities at which web texts are cut."""

    head: float
    """Of the 30 % of them that are most like the good ones, at most."""
    middle: float
    """Of the next 30 %, at most; what is above is the tail."""
    num_characters: int
    """Of good text."""
    num_web: int
    """Web texts that were measured."""


def train_language_model(good: Sequence[Path], web: Sequence[Path], output: Path) -> Cuts:
    """Write the model and its cuts to the folder `output`.

    Args:
        good: files or folders of texts of quality.
        web: the same of texts as the recipe's other rules leave them, which are not among the good ones.
        output: folder.

    Raises:
        DataError: too few texts; no model is written then.
    """
    # Before the good ones, which can take hours.
    if (count := sum(1 for _ in islice(texts_below(web), _MIN_WEB))) < _MIN_WEB:
        raise DataError(f"--web has {count} texts, and {_MIN_WEB} are needed to cut them in three: give more")
    output.mkdir(parents=True, exist_ok=True)
    num_characters = learn(texts_below(good), output / MODEL)
    found = np.array([perplexity(text, str(output / MODEL)) for text in texts_below(web)])
    head, middle = map(float, np.quantile(found, _SHARES))
    cuts = Cuts(head, middle, num_characters, len(found))
    write_text(output / INFO, to_json(asdict(cuts), indent=1) + "\n")
    return cuts
