from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from numpy.typing import NDArray

from pangu_alpha.cluster.rank_tables.picture import draw
from pangu_alpha.cluster.rank_tables.placement import arrange, shuffled
from pangu_alpha.cluster.rank_tables.rank_table import Device, RankTable, Server
from pangu_alpha.errors import ClusterError
from pangu_alpha.topology.mesh import Mesh

MESH = Mesh(dp=2, mp=4, pp=2)


def _table() -> RankTable:
    devices = tuple(Device(d, 0) for d in range(4))
    return arrange([Server(f"10.0.0.{s}", devices, f"rack{s // 2}") for s in range(4)], "2.0", MESH, False).table


def test_an_svg_names_racks_and_every_rank(tmp_path: Path) -> None:
    path = tmp_path / "places.svg"
    draw(_table(), shuffled(_table(), 1), MESH, path)
    text = path.read_text(encoding="utf-8")
    assert text.count(">rack0<") == text.count(">rack1<") == 2
    # Ranks stand in cells of both pictures; 1 and 10 also stand elsewhere.
    for rank in range(16):
        assert text.count(f">{rank}<") >= 2, rank
    for words in ("16 devices on 4 servers", "this rank table", "the same servers at random", "between racks"):
        assert words in text


def test_the_same_table_gives_the_same_svg(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        draw(_table(), shuffled(_table(), 1), MESH, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_png_shows_the_difference(tmp_path: Path) -> None:
    """Beside the same table twice: the left half stays, the right half has the ranks elsewhere."""

    def halves(other: RankTable) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        draw(_table(), other, MESH, tmp_path / "places.png")
        pixels = image.imread(tmp_path / "places.png")
        assert pixels.shape[0] > 500
        left, right = np.split(pixels[:, : pixels.shape[1] // 2 * 2], 2, axis=1)
        return left, right

    same, different = halves(_table()), halves(shuffled(_table(), 3))
    changed = [(before != after).any(axis=-1).mean() for before, after in zip(same, different, strict=True)]
    assert changed[0] < 0.001 < 0.01 < changed[1]


def test_drawings_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"drawings are \.svg or \.png"):
        draw(_table(), _table(), MESH, tmp_path / "places.jpg")
    with pytest.raises(ClusterError, match="cannot be written"):
        draw(_table(), _table(), MESH, tmp_path / "none" / "places.svg")
    assert list(tmp_path.iterdir()) == []
