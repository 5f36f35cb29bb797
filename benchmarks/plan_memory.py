"""How far the planner's memory is from MindSpore's own peak, on 40 layouts over all five dimensions.

Compiles the first, second and last stage of each as `pangu compile` does (the programs are kept: a second start takes
seconds; the first more than an hour on two cores) and prints the fullest of these stages, measured and planned.

    python benchmarks/plan_memory.py
    python benchmarks/plan_memory.py --layouts 5        # the first five
    python benchmarks/plan_memory.py --markdown > table.md
    python benchmarks/plan_memory.py --other-types      # float32, bfloat16, and GeLU with the error function
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from pangu_alpha.compiler.programs import compile_ranks, stage_ranks
from pangu_alpha.config import RunConfig
from pangu_alpha.config.presets import MODEL_PRESETS
from pangu_alpha.planner.peak import stage_peaks
from pangu_alpha.topology.mesh import Mesh


@dataclass(frozen=True)
class Layout:
    """One layout of one of the paper's networks with fewer layers."""

    preset: str
    num_layers: int
    dp: int
    mp: int
    pp: int
    num_micro_batches: int
    samples: int
    """Of a replica's micro-batch."""
    words: str
    """What else is on: `sharded`, `sequence`, `selective` or `whole`, `interleaved`; `erf`, `float32`, `bfloat16`."""

    def __str__(self) -> str:
        mesh = f"dp{self.dp} mp{self.mp} pp{self.pp}"
        return f"{self.preset} L{self.num_layers} {mesh} micro{self.num_micro_batches}×{self.samples} {self.words}"

    @property
    def config(self) -> RunConfig:
        """Its recipe."""
        words = self.words.split()
        kinds = [kind for kind in ("selective", "whole") if kind in words]
        types = [name for name in ("float32", "bfloat16") if name in words]
        settings: dict[str, Any] = {
            "model": {
                **MODEL_PRESETS[self.preset],
                "num_layers": self.num_layers,
                "compute_dtype": types[0] if types else "float16",
                "gelu": "erf" if "erf" in words else "tanh",
            },
            "train": {
                "steps": 1,
                "batch_size": self.dp * self.num_micro_batches * self.samples,
                "num_micro_batches": self.num_micro_batches,
            },
            "schedule": {"learning_rate": 1e-4, "end_learning_rate": 1e-5, "warmup_steps": 0, "decay_steps": 1},
            "parallel": {
                "dp": self.dp,
                "mp": self.mp,
                "pp": self.pp,
                "optimizer_sharding": "sharded" in words,
                "sequence_parallel": "sequence" in words,
                "rematerialisation": kinds[0] if kinds else "none",
                "schedule": "interleaved" if "interleaved" in words else "1f1b",
                "num_chunks": 2 if "interleaved" in words else 1,
            },
        }
        return RunConfig.model_validate(settings)


LAYOUTS = (
    Layout("350m", 4, 2, 1, 1, 1, 4, "none"),
    Layout("350m", 4, 2, 1, 1, 1, 4, "selective"),
    Layout("350m", 4, 2, 1, 1, 1, 4, "whole"),
    Layout("2b6", 4, 8, 1, 1, 1, 8, "whole sharded"),
    Layout("2b6", 4, 4, 2, 1, 1, 8, "selective sharded"),
    Layout("2b6", 4, 4, 2, 1, 1, 8, "selective sharded sequence"),
    Layout("350m", 8, 1, 1, 2, 2, 2, "none"),
    Layout("350m", 8, 1, 1, 4, 8, 2, "selective"),
    Layout("2b6", 8, 2, 2, 2, 4, 4, "whole sharded"),
    Layout("2b6", 8, 1, 2, 2, 4, 4, "whole sequence interleaved"),
    Layout("13b", 8, 2, 4, 2, 4, 2, "whole sharded sequence"),
    Layout("200b", 8, 8, 8, 4, 4, 1, "whole sharded"),
    Layout("200b", 8, 16, 16, 2, 4, 1, "selective sharded sequence"),
    Layout("13b", 4, 8, 8, 1, 1, 8, "whole sharded"),
    Layout("350m", 4, 2, 1, 1, 1, 4, "whole sharded"),
    Layout("350m", 4, 2, 1, 1, 4, 4, "none sharded"),
    Layout("350m", 4, 1, 2, 1, 1, 4, "none"),
    Layout("350m", 4, 1, 2, 1, 1, 4, "none sequence"),
    Layout("350m", 8, 1, 1, 2, 8, 2, "whole"),
    Layout("350m", 8, 1, 1, 2, 4, 2, "none interleaved"),
    Layout("350m", 8, 1, 1, 4, 16, 1, "none"),
    Layout("2b6", 4, 8, 1, 1, 1, 8, "whole"),
    Layout("2b6", 4, 8, 1, 1, 2, 8, "whole sharded"),
    Layout("2b6", 4, 1, 8, 1, 1, 8, "none sequence"),
    Layout("2b6", 8, 2, 2, 2, 4, 4, "none sharded sequence"),
    Layout("2b6", 8, 2, 1, 4, 8, 2, "selective sharded"),
    Layout("2b6", 8, 1, 4, 2, 16, 1, "none"),
    Layout("2b6", 8, 2, 2, 2, 8, 2, "selective sharded interleaved"),
    Layout("13b", 4, 8, 8, 1, 8, 8, "whole sharded"),
    Layout("13b", 4, 4, 4, 1, 1, 8, "selective sharded"),
    Layout("13b", 4, 1, 8, 1, 1, 4, "none sequence"),
    Layout("13b", 8, 2, 4, 2, 4, 2, "whole sharded"),
    Layout("13b", 8, 1, 8, 4, 8, 2, "none sequence"),
    Layout("13b", 8, 2, 8, 2, 4, 2, "selective sharded interleaved"),
    Layout("13b", 8, 4, 4, 4, 16, 1, "whole sharded"),
    Layout("200b", 4, 8, 8, 1, 1, 2, "whole sharded"),
    Layout("200b", 8, 8, 8, 4, 8, 2, "whole sharded sequence"),
    Layout("200b", 8, 8, 16, 4, 16, 1, "whole sharded sequence interleaved"),
    Layout("200b", 8, 1, 16, 4, 8, 1, "none sequence"),
    Layout("200b", 16, 16, 8, 8, 16, 1, "whole sharded"),
)
"""The first ones are the quickest way to see what is wrong."""
OTHER_TYPES = (
    *(
        Layout("350m", 4, 2, 1, 1, 1, 4, f"{kind} {word}")
        for kind in ("none", "selective", "whole")
        for word in ("erf", "float32", "bfloat16")
    ),
    Layout("350m", 8, 1, 1, 2, 2, 2, "none float32"),
    Layout("2b6", 8, 2, 2, 2, 4, 4, "selective sharded sequence float32"),
    Layout("13b", 4, 8, 8, 1, 1, 8, "whole sharded erf"),
    Layout("2b6", 8, 2, 2, 2, 4, 4, "none sharded sequence erf"),
    Layout("2b6", 8, 2, 2, 2, 4, 4, "whole sharded sequence float32"),
    Layout("2b6", 8, 2, 2, 2, 4, 4, "whole sharded interleaved bfloat16"),
)
"""Another GeLU, other compute types: compared with `--other-types`."""


def compare(config: RunConfig) -> tuple[int, int]:
    """Bytes that MindSpore and the planner say of the fullest of the compiled stages."""
    mesh = Mesh.of(config.parallel)
    ranks = stage_ranks(mesh)
    chosen = sorted({ranks[0], *ranks[1:2], ranks[-1]})
    peaks = stage_peaks(config)
    measured = [one.measured.device_memory or 0 for one in compile_ranks(config, chosen, level=1)]
    return max(measured), max(peaks[mesh.place(rank).stage].num_bytes for rank in chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layouts", type=int, default=len(LAYOUTS), metavar="N", help="of the list, the first N")
    parser.add_argument("--other-types", action="store_true", help="the list of other compute types and GeLU")
    parser.add_argument("--markdown", action="store_true", help="print a table for the documents")
    arguments = parser.parse_args()
    bar = "| " if arguments.markdown else ""
    print(f"{bar}{'layout':<74} {bar}{'MindSpore':>10} {bar}{'planner':>10} {bar}{'error':>7} {bar}".rstrip())
    if arguments.markdown:
        print("|---|---|---|---|")
    errors = []
    for layout in (OTHER_TYPES if arguments.other_types else LAYOUTS)[: arguments.layouts]:
        measured, planned = compare(layout.config)
        errors.append(planned / measured - 1)
        sizes = f"{measured / 2**20:>6.0f} MiB {bar}{planned / 2**20:>6.0f} MiB {bar}{errors[-1]:>+7.1%} {bar}"
        print(f"{bar}{layout!s:<74} {bar}{sizes}".rstrip(), flush=True)
    within = sum(abs(error) <= 0.05 for error in errors)
    print(f"\n{within} of {len(errors)} within 5 %; from {min(errors):+.1%} to {max(errors):+.1%}")


if __name__ == "__main__":
    main()
