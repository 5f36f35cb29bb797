"""`pangu corpus report`: a ledger counted, in one pass, and its pictures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.corpus.finishing import LEDGER
from pangu_alpha.corpus.ledger import read_batches
from pangu_alpha.errors import DataError
from pangu_alpha.files import written_aside

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURES = ("fates.png", "lengths.png", "clusters.png")
_BINS = np.geomspace(1, 1e7, 57)
"""Bounds of the lengths that are counted together: eight a power of ten."""
_STAYS = "stays"
_STAYS_COLOUR = "#2c7a4b"
_COLOURS = [f"C{index}" for index in (1, 0, 3, 4, 5, 6, 7, 8, 9)]
"""Of what fell: all of the usual ten but green."""


@dataclass
class Counts:
    """What a ledger says, counted."""

    fates: dict[str, Counter[str]] = field(default_factory=dict)
    """By source: how many fell to what; `stays` did not."""
    before: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(_BINS) - 1, np.int64))
    """Documents by their length in characters as they were read."""
    after: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(_BINS) - 1, np.int64))
    """Those that stay, by the length of the text that stays."""
    clusters: Counter[int] = field(default_factory=Counter)
    """How many clusters of duplicates have how many documents."""
    encodings: Counter[str] = field(default_factory=Counter)


def ledger_files(corpus: Path) -> list[Path]:
    """The ledgers of a corpus.

    Raises:
        DataError: there are none.
    """
    files = sorted((corpus / LEDGER).glob("*.parquet"))
    if not files:
        raise DataError(f"{corpus} has no ledger: name the --output of a `pangu corpus run` that is complete")
    return files


def count(corpus: Path) -> Counts:
    """Read a corpus's ledger; see `Counts`.

    Raises:
        DataError: there is none.
    """
    counts, members = Counts(), Counter[int]()
    for path in ledger_files(corpus):
        names = ["source", "dropped_by", "raw_characters", "characters", "cluster", "encoding"]
        for batch in read_batches(path, names):
            rows = batch.to_pydict()
            for source, reason in zip(rows["source"], rows["dropped_by"], strict=True):
                counts.fates.setdefault(source, Counter())[reason or _STAYS] += 1
            stays = np.array([reason is None for reason in rows["dropped_by"]], bool)
            counts.before += np.histogram(np.clip(rows["raw_characters"], 1, None), _BINS)[0]
            counts.after += np.histogram(np.clip(rows["characters"], 1, None)[stays], _BINS)[0]
            members.update(cluster for cluster in rows["cluster"] if cluster is not None)
            counts.encodings.update(name or "none" for name in rows["encoding"])
    counts.clusters.update(members.values())
    return counts


def draw(counts: Counts, folder: Path) -> list[Path]:
    """Write the pictures; returns their paths."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in PICTURES]
    for path, paint in zip(paths, (_fates, _lengths, _clusters), strict=True):
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        paint(counts, figure.subplots())
        with written_aside(path) as aside:
            figure.savefig(aside, dpi=120)
    return paths


def _fates(counts: Counts, axes: Axes) -> None:
    total = sum(counts.fates.values(), Counter())
    reasons = [_STAYS, *(reason for reason, _ in total.most_common() if reason != _STAYS)]
    sources = list(counts.fates)
    left = np.zeros(len(sources))
    colours = [_STAYS_COLOUR, *(_COLOURS[index % len(_COLOURS)] for index in range(len(reasons) - 1))]
    for reason, colour in zip(reasons, colours, strict=True):
        share = np.array([counts.fates[source][reason] / counts.fates[source].total() for source in sources])
        axes.barh(sources, share, left=left, label=f"{reason} ({total[reason]:,})", color=colour)
        left += share
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="share of the documents of the source", title="What became of the documents")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)


def _lengths(counts: Counts, axes: Axes) -> None:
    axes.stairs(counts.before, _BINS, label=f"as read ({counts.before.sum():,})", color="#888888")
    axes.stairs(
        counts.after,
        _BINS,
        label=f"texts that stay ({counts.after.sum():,})",
        color=_STAYS_COLOUR,
        fill=True,
        alpha=0.6,
    )
    filled = np.flatnonzero(counts.before)
    bounds = (_BINS[filled[0]], _BINS[filled[-1] + 1]) if len(filled) else (1, 10)
    axes.set(xscale="log", xlim=bounds, xlabel="characters", ylabel="documents", title="Lengths before and after")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter("{x:,.0f}" if bounds[1] < 10 * bounds[0] else "")
    axes.legend()


def _clusters(counts: Counts, axes: Axes) -> None:
    powers = Counter[int]()
    for size, number in counts.clusters.items():
        powers[(size - 1).bit_length()] += number  # 2 documents, 3 and 4, 5 to 8, …
    names = {power: f"{2 ** (power - 1) + 1} to {2**power}" if power > 1 else "2" for power in sorted(powers)}
    axes.bar(list(names.values()), [powers[power] for power in names], color=_STAYS_COLOUR)
    axes.set(xlabel="documents of a cluster", ylabel="clusters", title="Clusters of duplicates")
    if not powers:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no duplicates", transform=axes.transAxes, ha="center")
