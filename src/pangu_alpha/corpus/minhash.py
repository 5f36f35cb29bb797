"""MinHash of character n-grams, many documents at once in NumPy (Broder, 1997), and the similarity that it estimates.

White space, punctuation, case and width do not count: what is compared are letters, digits and Han characters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from unicodedata import normalize

import numpy as np
import xxhash
from numpy.typing import NDArray

from pangu_alpha.corpus.recipe import NearSettings
from pangu_alpha.data.order import mix

_BMP = 1 << 16
_BASE = 0x9E3779B1
_BLOCK = 1 << 16
"""Shingles that go through all permutations together: they stay in the processor's cache."""
Codes = NDArray[np.uint32]


@lru_cache(maxsize=1)
def _table() -> NDArray[np.uint32]:
    """What each character of the basic plane counts as: a letter or digit, folded; 0 for all others."""
    table = np.zeros(_BMP, np.uint32)
    for code in range(_BMP):
        folded = normalize("NFKC", chr(code)).lower() if not 0xD800 <= code < 0xE000 else ""
        if len(folded) == 1 and folded.isalnum():
            table[code] = ord(folded)
    return table


def letters(texts: Sequence[str]) -> tuple[Codes, NDArray[np.int64]]:
    """The characters of `texts` that count, one text after the other [n], and where each text ends in them [texts]."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", errors="replace"), np.uint32)
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    folded = np.where(codes < _BMP, _table()[np.minimum(codes, _BMP - 1)], codes)
    counted = folded != 0
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(counted, dtype=np.int64)])
    return folded[counted], before[ends]


def shingles(codes: Codes, ngram: int) -> Codes:
    """A hash of each `ngram` characters in a row [len(codes) − ngram + 1]; of fewer characters: one of them all."""
    ngram = min(ngram, len(codes))
    if not ngram:
        return np.zeros(0, np.uint32)
    powers = [np.uint32(pow(_BASE, ngram - 1 - i, 1 << 32)) for i in range(ngram)]
    count = len(codes) - ngram + 1
    hashes = codes[:count] * powers[0]
    for i in range(1, ngram):
        hashes += codes[i : i + count] * powers[i]
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):  # the finaliser of MurmurHash3
        hashes ^= hashes >> np.uint32(shift)
        hashes *= np.uint32(factor)
    return hashes


def band_hashes(
    texts: Sequence[str], near: NearSettings
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.bool_]]:
    """What documents are found and compared by.

    Returns:
        a hash of each band [texts, bands]; one of the text [texts, 2]; whether there is anything to compare [texts].
    """
    codes, ends = letters(texts)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
    whole = np.array(
        [_whole(text, codes[start:end]) for text, start, end in zip(texts, starts, ends, strict=True)], np.uint64
    ).reshape(-1, 2)
    bands = np.zeros((len(texts), near.bands), np.uint64)
    for first, last in _blocks(ends):
        bands[first:last] = _block_bands(codes, starts[first:last], ends[first:last], near)
    return bands, whole, ends > starts


def similarity(some: Codes, other: Codes) -> float:
    """The Jaccard similarity of two sets of shingles, given sorted and each once: shared ÷ all."""
    shared = len(some) + len(other) - len(np.union1d(some, other))
    return shared / (len(some) + len(other) - shared) if len(some) + len(other) else 0.0


def shingle_set(text: str, ngram: int) -> Codes:
    """The shingles of a text, sorted, each once."""
    return np.unique(shingles(letters([text])[0], ngram))


def _whole(text: str, codes: Codes) -> tuple[int, int]:
    # A text of punctuation alone is compared as it stands: else all such texts would be one.
    digest = xxhash.xxh3_128_intdigest(codes.tobytes() if len(codes) else b"\0" + text.encode(errors="replace"))
    return digest >> 64, digest & 0xFFFFFFFFFFFFFFFF


def _blocks(ends: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    first = 0
    while first < len(ends):
        begun = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, begun + _BLOCK, side="right")))
        yield first, last
        first = last


def _block_bands(
    codes: Codes, starts: NDArray[np.int64], ends: NDArray[np.int64], near: NearSettings
) -> NDArray[np.uint64]:
    hashes, lengths = _block_shingles(codes, starts, ends, near.ngram)
    minima = np.full((near.bands * near.rows, len(starts)), 0xFFFFFFFF, np.uint32)
    full = np.flatnonzero(lengths)
    if len(full):
        firsts = (np.cumsum(lengths) - lengths)[full]
        product = np.empty_like(hashes)
        for row, factor in enumerate(_factors(near.bands * near.rows)):
            np.multiply(hashes, factor, out=product)
            minima[row, full] = np.minimum.reduceat(product, firsts)
    combined = np.zeros((near.bands, len(starts)), np.uint64)
    for row in range(near.rows):
        combined = mix(combined ^ minima[row :: near.rows].astype(np.uint64) + np.uint64(_BASE * (row + 1)))
    return combined.T


def _block_shingles(
    codes: Codes, starts: NDArray[np.int64], ends: NDArray[np.int64], ngram: int
) -> tuple[Codes, NDArray[np.int64]]:
    """Shingles of several texts one after the other, none across two of them, and how many each text has."""
    lengths = ends - starts
    if len(starts) == 1 or lengths.min() < ngram:
        parts = [shingles(codes[start:end], ngram) for start, end in zip(starts, ends, strict=True)]
        return np.concatenate(parts), np.array([len(part) for part in parts], np.int64)
    hashes = shingles(codes[starts[0] : ends[-1]], ngram)
    inside = np.ones(len(hashes), bool)
    across = (ends[:-1] - starts[0])[:, None] - np.arange(1, ngram)
    inside[across.ravel()] = False
    return hashes[inside], lengths - ngram + 1


@lru_cache(maxsize=4)
def _factors(count: int) -> NDArray[np.uint32]:
    """Odd numbers: multiplying by one is a permutation of the 32-bit numbers."""
    return (mix(np.arange(1, count + 1, dtype=np.uint64)) >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
