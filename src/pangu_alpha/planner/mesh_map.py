"""The fastest layout of every mesh: the map of mp and pp, with what does not fit and what cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pangu_alpha.planner.job import Job
from pangu_alpha.planner.search import Result, Search
from pangu_alpha.planner.space import Layout, meshes, refusal
from pangu_alpha.planner.step import account


@dataclass(frozen=True)
class MeshTime:
    """What becomes of one mesh."""

    mesh: Layout
    """Its dp, mp and pp."""
    seconds: float | None = None
    """Of its fastest layout's step; None: none fits, or none can or may be."""
    missing_bytes: int | None = None
    """Where layouts can be and none fits: what the smallest needs more on its fullest stage."""


def mesh_times(job: Job) -> Iterator[MeshTime]:
    """Every mesh of the job's devices."""
    search = Search(job.recipe, job.num_devices, job.hardware, job.memory_bytes, job.batch_size, allows=job.allows)
    for mesh in meshes(job.num_devices):
        yield _mesh_time(search, mesh)


def _mesh_time(search: Search, mesh: Layout) -> MeshTime:
    if refusal(search.recipe, mesh, search.batch_size):
        return MeshTime(mesh)
    result = Result()
    fitting = [item.priced for item in search.fitting(mesh, result)]
    best: float | None = None
    for priced in sorted(fitting, key=lambda item: item.least_seconds):
        if best is not None and priced.least_seconds >= best:
            break
        seconds = account(priced).seconds
        best = seconds if best is None else min(best, seconds)
    missing = result.nearest[1] - search.memory_bytes if best is None and result.nearest is not None else None
    return MeshTime(mesh, best, missing)
