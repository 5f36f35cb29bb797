"""Every layout of a recipe on so many devices, and why those that are none are refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, get_args

from pangu_alpha.config import ParallelConfig, RunConfig, TrainConfig
from pangu_alpha.config.limits import groups_problem, layers_problem, rows_problem, vocabulary_problem
from pangu_alpha.config.sections import Rematerialisation

CHUNKS = (1, 2, 4, 8)
"""Runs of layers a stage that are tried."""


@dataclass(frozen=True)
class Layout:
    """What a search chooses."""

    dp: int
    mp: int
    pp: int
    num_micro_batches: int = 1
    num_chunks: int = 1
    rematerialisation: Rematerialisation = "none"
    sequence_parallel: bool = False
    optimizer_sharding: bool = False
    rematerialised_stages: int | None = None

    def __str__(self) -> str:
        words = [f"dp={self.dp} mp={self.mp} pp={self.pp}", f"micro-batches={self.num_micro_batches}"]
        words += [f"chunks={self.num_chunks}"] if self.num_chunks > 1 else []
        words += [f"rematerialisation={self.remat}"]
        words += ["sequence parallel"] if self.sequence_parallel else []
        words += ["sharded optimizer"] if self.optimizer_sharding else []
        return ", ".join(words)

    @property
    def remat(self) -> str:
        """What is made again, and on how many stages if not on all."""
        return self.rematerialisation + (f":{self.rematerialised_stages}" if self.rematerialised_stages else "")

    @classmethod
    def of(cls, config: RunConfig) -> Layout:
        """That of a recipe."""
        parallel = config.parallel
        return cls(
            parallel.dp,
            parallel.mp,
            parallel.pp,
            config.train.num_micro_batches,
            parallel.num_chunks,
            parallel.rematerialisation,
            parallel.sequence_parallel,
            parallel.optimizer_sharding,
            parallel.rematerialised_stages,
        )

    def changes(self, other: Layout) -> list[str]:
        """In what another layout differs; "mesh" is there once if one axis gives a factor to another, or else twice."""
        names = ("num_micro_batches", "num_chunks", "remat", "sequence_parallel", "optimizer_sharding")
        axes = sum(getattr(self, axis) != getattr(other, axis) for axis in ("dp", "mp", "pp"))
        return ["mesh"] * (axes - 1) + [name for name in names if getattr(self, name) != getattr(other, name)]

    def settings(self) -> dict[str, dict[str, Any]]:
        """The recipe's settings that it decides."""
        return {
            "train": {"num_micro_batches": self.num_micro_batches},
            "parallel": {
                "dp": self.dp,
                "mp": self.mp,
                "pp": self.pp,
                "sequence_parallel": self.sequence_parallel,
                "optimizer_sharding": self.optimizer_sharding,
                "rematerialisation": self.rematerialisation,
                "rematerialised_stages": self.rematerialised_stages,
                "schedule": "interleaved" if self.num_chunks > 1 else "1f1b",
                "num_chunks": self.num_chunks,
            },
        }

    def config(self, recipe: RunConfig, batch_size: int) -> RunConfig:
        """The recipe with this layout, not validated: `refusal` has said that it can be laid out."""
        settings = self.settings()
        parallel = ParallelConfig.model_construct(**settings["parallel"])
        train: TrainConfig = recipe.train.model_copy(update={**settings["train"], "batch_size": batch_size})
        return recipe.model_copy(update={"parallel": parallel, "train": train})


def meshes(num_devices: int) -> Iterator[Layout]:
    """Every dp · mp · pp = `num_devices`."""
    for mp in _divisors(num_devices):
        for pp in _divisors(num_devices // mp):
            yield Layout(num_devices // mp // pp, mp, pp)


def refusal(recipe: RunConfig, layout: Layout, batch_size: int) -> tuple[str, str] | None:
    """Why no layout of a mesh can be: a short reason, and the sentence with the arithmetic. None: some may."""
    model, parallel = recipe.model, layout.config(recipe, batch_size).parallel
    if model.num_heads % layout.mp:
        return "mp does not divide the heads", f"{model.num_heads} heads ÷ mp({layout.mp}) is not whole"
    if batch_size % layout.dp:
        return "dp does not divide the batch", f"{batch_size} samples ÷ dp({layout.dp}) is not whole"
    if problem := layers_problem(model, parallel):
        return "more stages than layers", problem
    if problem := groups_problem(parallel):
        return "MindSpore does not create its groups", problem
    if problem := vocabulary_problem(model, parallel):
        return "slices of the vocabulary too small", problem
    if batch_size // layout.dp < layout.pp:
        return (
            "fewer micro-batches than stages",
            f"{batch_size} samples ÷ dp({layout.dp}) = {batch_size // layout.dp} micro-batches at most, and "
            f"pp({layout.pp}) needs one for every stage",
        )
    return None


def layouts(recipe: RunConfig, mesh: Layout, batch_size: int) -> Iterator[Layout]:
    """Every layout of a mesh that is not refused."""
    samples = batch_size // mesh.dp
    for num_micro_batches in _divisors(samples):
        if mesh.pp > 1 and num_micro_batches < mesh.pp:
            continue
        for num_chunks in CHUNKS if mesh.pp > 1 else (1,):
            if mesh.pp * num_chunks > recipe.model.num_layers:
                continue
            first = replace(mesh, num_micro_batches=num_micro_batches, num_chunks=num_chunks)
            yield from _variants(recipe, first, batch_size)


def _variants(recipe: RunConfig, first: Layout, batch_size: int) -> Iterator[Layout]:
    for rematerialisation in get_args(Rematerialisation):
        for sequence_parallel in (False, True) if first.mp > 1 else (False,):
            for sharding in (False, True) if first.dp > 1 else (False,):
                layout = replace(
                    first,
                    rematerialisation=rematerialisation,
                    sequence_parallel=sequence_parallel,
                    optimizer_sharding=sharding,
                )
                config = layout.config(recipe, batch_size)
                if rows_problem(config.model, config.train, config.parallel) is None:
                    yield layout


def on_first_stages(layout: Layout, fewest: int) -> Iterator[Layout]:
    """The layouts in which only the first stages, `fewest` of them or more, make again what all do in `layout`."""
    if layout.rematerialisation != "none":
        for number in range(fewest, layout.pp):
            yield replace(layout, rematerialised_stages=number)


def _divisors(number: int) -> list[int]:
    small = [divisor for divisor in range(1, int(number**0.5) + 1) if number % divisor == 0]
    return sorted({*small, *(number // divisor for divisor in small)})
