"""`pangu checkpoint`: what a run has saved, whether it is whole, how two differ, and the same in another form.

The checkpoint package is imported by the functions that work, so that `--help` does not wait for NumPy.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.cli import convert_checkpoint
from pangu_alpha.console import progress, say, si
from pangu_alpha.errors import CheckpointError, DamagedError

if TYPE_CHECKING:
    from pangu_alpha.checkpoint import Checkpoint

_RAW = argparse.RawDescriptionHelpFormatter
_PATH = "a step_* folder, or a run's output for its newest checkpoint"
_MAX_LINES = 20
"""Of differing tensors that are printed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `list`, `show`, `check`, `diff` and `convert`."""
    parser.epilog = (
        "examples:\n  pangu checkpoint list runs/tiny_cpu\n  pangu checkpoint show runs/tiny_cpu --ranks\n"
        "  pangu checkpoint check runs/tiny_cpu\n"
        "  pangu checkpoint diff runs/a/checkpoints/step_00000100 runs/b/checkpoints/step_00000100\n"
        "  pangu checkpoint convert runs/a converted parallel.dp=1 parallel.mp=4\n"
        "  pangu checkpoint convert pangu_2_6B imported --tokenizer vocab.model"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(action: str, summary: str, description: str, example: str) -> argparse.ArgumentParser:
        return actions.add_parser(
            action, help=summary, description=description, epilog=f"example:\n  {example}", formatter_class=_RAW
        )

    one = add("list", "the checkpoints of a run", "Every checkpoint of a run: step, size, mesh, health.",
              "pangu checkpoint list runs/tiny_cpu")  # fmt: skip
    one.add_argument("output", type=Path, help="a run's output")
    one = add("show", "what is in one", "Step, place in the data, health, mesh, tensors; with --ranks who wrote what.",
              "pangu checkpoint show runs/tiny_cpu --ranks")  # fmt: skip
    one.add_argument("path", type=Path, help=_PATH)
    one.add_argument("--ranks", action="store_true", help="also the bytes that each rank has written, by stage")
    one.add_argument("--tensors", action="store_true", help="also every tensor: shape, and into which cells it is cut")
    one = add("check", "read every byte", "Read and check all of a checkpoint. The exit code is 1 if it is damaged.",
              "pangu checkpoint check runs/tiny_cpu")  # fmt: skip
    one.add_argument("path", type=Path, nargs="+", help=_PATH)
    one = add("diff", "compare two", "Compare two checkpoints tensor by tensor. The exit code is 1 if they differ.",
              "pangu checkpoint diff runs/a runs/b")  # fmt: skip
    one.add_argument("first", type=Path, help=_PATH)
    one.add_argument("second", type=Path, help=_PATH)
    one = add("convert", "write it in another layout or form", convert_checkpoint.DESCRIPTION, "")
    one.epilog = convert_checkpoint.EXAMPLES
    convert_checkpoint.add_arguments(one)


def run(arguments: argparse.Namespace) -> None:
    """Carry out `pangu checkpoint ...`."""
    actions = {"list": _list, "show": _show, "check": _check, "diff": _diff, "convert": convert_checkpoint.run}
    actions[arguments.action](arguments)


def _open(path: Path) -> Checkpoint:
    """A checkpoint, or the newest one of a run, damaged or not."""
    from pangu_alpha.checkpoint import checkpoints_at, open_checkpoint

    return open_checkpoint(checkpoints_at(path)[-1])


def _list(arguments: argparse.Namespace) -> None:
    from pangu_alpha.checkpoint import checkpoints_at, open_checkpoint

    paths = checkpoints_at(arguments.output)
    print(f"{'step':>10} {'size':>8} {'loss':>8}  {'written by':<28} {'':<8} path")
    for path in paths:
        try:
            found = open_checkpoint(path)
        except CheckpointError as error:
            word = "damaged" if isinstance(error, DamagedError) else "not readable"
            print(f"{path.name.removeprefix('step_'):>10} {'':>8} {'':>8}  {word}: {error}")
            continue
        loss = f"{found.health.loss:.4f}" if found.health else "-"
        words = "whole" if found.is_healthy else "lost" if found.health and found.health.is_lost else "a spike"
        print(f"{found.step:>10,} {si(found.num_bytes):>7}B {loss:>8}  {_mesh(found):<28} {words:<8} {path}")
    say("sizes are checked, contents are not: `pangu checkpoint check PATH` reads them")


def _mesh(checkpoint: Checkpoint) -> str:
    parallel = checkpoint.state.get("config", {}).get("parallel", {})
    words = [f"{axis}{parallel[axis]}" for axis in ("dp", "mp", "pp") if axis in parallel]
    return " ".join(words + ["sharded"] * bool(parallel.get("optimizer_sharding"))) or "-"


def _show(arguments: argparse.Namespace) -> None:
    import math

    from pangu_alpha.checkpoint.index import GROUPS, group_of

    found = _open(arguments.path)
    progress_of, versions = found.state.get("progress", {}), found.state.get("versions", {})
    health = found.health
    rows = {
        "path": found.path,
        "step": f"{found.step:,}",
        "updates": f"{progress_of.get('num_updates', 0):,}",
        "consumed samples": f"{progress_of.get('consumed_samples', 0):,}",
        "health": "not known" if health is None else
        f"loss {health.loss:.4f}, gradient norm {health.grad_norm:.4g}{', a spike' if health.is_spike else ''}"
        f"{', lost: the loss of its weights is not finite' if health.is_lost else ''}",
        "written by": _mesh(found),
        "versions": ", ".join(f"{name} {value}" for name, value in versions.items()) or "-",
        "files": f"{len(found.index.files):,} of {si(found.num_bytes)}B together",
    }  # fmt: skip
    if imported := found.state.get("imported"):
        rows["imported from"] = f"{imported['from']}, in the form {imported['form']}"
    for group in GROUPS:
        tensors = {name: cells for name, cells in found.index.tensors.items() if group_of(name) == group}
        elements = sum(math.prod(cells.shape) for cells in tensors.values())
        pieces = sum(len(cells.files) for cells in tensors.values())
        rows[group] = f"{len(tensors):,} tensors, {elements:,} numbers in {pieces:,} pieces"
    for name, value in rows.items():
        print(f"{name:<17} {value}")
    if arguments.tensors:
        for name, cells in found.index.tensors.items():
            print(f"{name:<52} {list(cells.shape)!s:<16} in {len(cells.files)} of {list(cells.cell)}")
    if arguments.ranks:
        _show_ranks(found)


def _show_ranks(checkpoint: Checkpoint) -> None:
    parallel = checkpoint.state.get("config", {}).get("parallel", {})
    num_stage_ranks = parallel.get("dp", 1) * parallel.get("mp", 1)
    sizes: dict[int, int] = defaultdict(int)
    for name, seal in checkpoint.index.files:
        digits = Path(name).stem.removeprefix("rank_")
        if seal is not None and digits.isdigit():
            sizes[int(digits)] += seal.num_bytes
    stages: dict[int, list[int]] = defaultdict(list)
    for rank in sorted(sizes):
        stages[rank // num_stage_ranks].append(rank)
    for stage, ranks in stages.items():
        written = [sizes[rank] for rank in ranks]
        print(
            f"stage {stage:<4} {len(ranks):,} ranks ({ranks[0]} to {ranks[-1]}) wrote {si(sum(written))}B, "
            f"each {si(min(written))}B to {si(max(written))}B"
        )


def _check(arguments: argparse.Namespace) -> None:
    num_damaged = 0
    for path in arguments.path:
        try:
            found = _open(path)
            with progress(f"checking {found.path.name}", found.num_bytes, "bytes") as advance:
                for num_bytes in found.check_contents():
                    advance(num_bytes)
        except DamagedError as error:
            num_damaged += 1
            print(f"{path}: {error}")
        else:
            print(f"{found.path}: all {len(found.index.tensors):,} tensors are what was written")
    if num_damaged:
        sys.exit(1)


def _diff(arguments: argparse.Namespace) -> None:
    from pangu_alpha.checkpoint.comparing import compare

    first, second = _open(arguments.first), _open(arguments.second)
    differing = []
    with progress("comparing", len(first.index.tensors), "tensors") as advance:
        for found in compare(first, second):
            advance(1)
            if not found.is_equal:
                differing.append(found)
    for found in differing[:_MAX_LINES]:
        if None in found.shapes or found.shapes[0] != found.shapes[1]:
            here, there = ("missing" if shape is None else str(list(shape)) for shape in found.shapes)
            print(f"{found.name}: {here} in the first, {there} in the second")
        else:
            print(
                f"{found.name}: numbers that differ: {found.num_different:,}, the first at {list(found.first)}, "
                f"by up to {found.largest:.3g} ({found.relative:.2e} of the norm)"
            )
    if differing[_MAX_LINES:]:
        print(f"... and {len(differing) - _MAX_LINES:,} more")
    if differing:
        print(f"{len(differing):,} of {len(first.index.tensors):,} tensors differ")
        sys.exit(1)
    print(f"all {len(first.index.tensors):,} tensors are equal to the bit")
