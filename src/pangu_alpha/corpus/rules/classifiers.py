"""Rules that ask a fastText model: spam, quality, language (Joulin et al., 2016)."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import xxhash

from pangu_alpha.errors import ConfigError

GOOD, BAD = "__label__good", "__label__bad"
_CHARACTERS = 4000
"""Of a text that a model looks at: what spam is says so at once."""
_MARK = re.compile("([，。；：、！？])")


def good_probability(text: str, model: str) -> float:
    """The probability of `__label__good`, 0 to 1, of the characters of a text."""
    return probability(text, model, GOOD)


def sampled_quality(text: str, model: str, alpha: float) -> float:
    """The probability + a draw of Pareto's distribution − 1, from 0 on for what GPT-3's rule keeps (appendix A).

    The draw is a function of the text, so that the same document always has the same fate.
    """
    uniform = (xxhash.xxh3_64_intdigest(text.encode(errors="replace")) + 0.5) / 2**64
    return good_probability(text, model) + float((1 - uniform) ** (-1 / alpha) - 1) - 1


def language_probability(text: str, model: str, label: str) -> float:
    """The probability of a language, 0 to 1; its models read words as they stand, not single characters.

    A full-width mark ends a word: as one word of 180 characters the beginning of 三国演义 is Chinese with 0.44 by
    lid.176, and with 0.99 so.
    """
    return _predict(" ".join(_MARK.sub(r"\1 ", text[:_CHARACTERS]).split()), model).get(f"__label__{label}", 0.0)


def probability(text: str, model: str, label: str) -> float:
    """The probability that a model of characters gives `label`."""
    return _predict(spaced(text), model).get(label, 0.0)


def spaced(text: str) -> str:
    """The characters of the beginning of a text as words, for fastText, which cuts at white space."""
    return " ".join("".join(text[:_CHARACTERS].split()))


def _predict(line: str, model: str) -> dict[str, float]:
    labels, values = _load(model).predict(line, k=-1)
    return {label: min(float(value), 1.0) for label, value in zip(labels, values, strict=True)}  # it gives 1.00005


@lru_cache(maxsize=4)
def _load(model: str) -> Any:
    import fasttext

    if not Path(model).is_file():
        raise ConfigError(f"there is no fastText model {model}: `pangu corpus train` makes one")
    try:
        return fasttext.load_model(model)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"{model} is not a fastText model: {error}") from error
