"""What a rehearsal says at its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pangu_alpha.console import duration, si
from pangu_alpha.rehearsal.life import Life, Lived
from pangu_alpha.topology.mesh import Mesh

CANNOT_SHOW = (
    "a rehearsal cannot show: numbers (no kernel runs, so that the loss reads 0; `pangu verify` shows them, on small "
    "networks), the links and HCCL (`pangu doctor` looks at them), time on devices, and what other programs do to the "
    "cluster"
)
_GIB = 1 << 30


def lines_of(life: Life, lived: Lived, number: int) -> Iterator[str]:
    """The account of one life."""
    config, mesh = life.config, Mesh.of(life.config.parallel)
    absent = mesh.num_ranks - len(life.ranks)
    yield f"life {number}: {life.words[0]}, {mesh} = {mesh.num_ranks} ranks, {duration(lived.seconds)}"
    yield f"  rank table {life.table_path}: {len(life.table.servers)} server(s), says which card is which rank"
    yield "  rank  stage  compile  validation  fill   steps  host GiB  device GiB"
    for rank, values in lived.accounts.items():
        yield (
            f"  {rank:4}  {mesh.place(rank).stage:5}  {values['compile_seconds']:5.1f} s  "
            f"{values.get('compile_validation_seconds', 0.0):8.1f} s  {values['fill_seconds']:4.1f} s  "
            f"{values['num_steps']:.0f} in {values['step_seconds']:.1f} s  {values['host_bytes'] / _GIB:4.1f}  "
            f"{values['device_bytes'] / _GIB:8.2f}"
        )
    yield (
        f"  samples {lived.first_sample:,} to {lived.consumed_samples - 1:,} in {life.num_steps} step(s) of "
        f"{config.train.batch_size:,}"
    )
    yield (
        f"  checkpoint of step {lived.step}: {lived.num_files:,} files, {si(lived.num_bytes)}B, index "
        f"{lived.index_bytes / 1e6:.1f} MB, complete in {lived.save_seconds:.1f} s; every box written once, of the "
        "size that its writer says"
    )
    if absent:
        yield (
            f"  {absent:,} rank(s) had no process: what they would write is there as zeros, in files with holes, made "
            "by the code of the others"
        )
    source = "the starting values, drawn anew" if number == 1 else "the checkpoint of the life before"
    yield (
        f"  {lived.num_boxes:,} boxes ({si(lived.num_elements)} numbers) of the ranks with a process went to the "
        f"device, were read back, written and read again: equal, to the bit, to {source}"
    )


def summary(lives: Sequence[Life], accounts: Sequence[Lived]) -> Iterator[str]:
    """What follows from all of them."""
    if len(accounts) > 1:
        yield (
            f"{lives[1].words[0]} went on at sample {accounts[1].first_sample:,}, where {lives[0].words[0]} had ended, "
            "with the weights, moments and loss scale of its checkpoint"
        )
    yield CANNOT_SHOW
