import numpy as np
import pytest

from pangu_alpha.errors import ConfigError
from pangu_alpha.topology.mesh import AXES, Axis, Mesh, Place


def test_ranks_are_numbered_stage_by_stage() -> None:
    mesh = Mesh(dp=2, mp=4, pp=3)
    assert mesh.place(0) == Place(stage=0, replica=0, slice=0)
    assert mesh.place(1) == Place(stage=0, replica=0, slice=1)
    assert mesh.place(4) == Place(stage=0, replica=1, slice=0)
    assert mesh.place(8) == Place(stage=1, replica=0, slice=0)
    assert mesh.stage_ranks(1) == tuple(range(8, 16))


@pytest.mark.parametrize("axis", AXES)
def test_groups_of_an_axis_cover_every_rank_once(axis: Axis) -> None:
    mesh = Mesh(dp=2, mp=4, pp=3)
    groups = mesh.groups(axis)
    assert sorted(rank for group in groups for rank in group) == list(range(24))
    assert {len(group) for group in groups} == {mesh.size(axis)}
    for group in groups:
        assert all(mesh.group(axis, rank) == group for rank in group)


def test_groups_of_the_paper() -> None:
    mesh = Mesh(dp=16, mp=8, pp=16)
    assert mesh.group("mp", 9) == tuple(range(8, 16))
    assert mesh.group("dp", 9) == tuple(range(1 + 0, 128, 8))
    assert mesh.group("pp", 9) == tuple(range(9, 2048, 128))


def test_wrong_numbers_are_explained() -> None:
    mesh = Mesh(dp=16, mp=8, pp=16)
    with pytest.raises(ConfigError, match=r"dp\(16\) × mp\(8\) × pp\(16\) = 2048 ≠ devices\(1024\)"):
        mesh.check_devices(1024)
    with pytest.raises(ConfigError, match="0 to 2047"):
        mesh.place(2048)
    assert np.array_equal(mesh.ranks.reshape(-1), np.arange(2048))
