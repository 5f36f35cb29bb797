"""How much memory does it take to import 13B in its released form?

The 512 files of slices have the names, sizes and order of the release in float16, but hold zeros that take no place on
the disk. First all 40 layers are opened and every tensor is read, transposed and widened as for a checkpoint; then a
network of the same width with few layers is written as a checkpoint of ours, which takes 1.3 GB a layer on disk, and
from there for Hugging Face. Each is a process of its own, and its peak of memory is compared with 2 GiB.

    python benchmarks/weights.py --written-layers 4
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pangu_alpha.checkpoint import checkpoints_at, open_checkpoint
from pangu_alpha.config import MODEL_PRESETS, ModelConfig, ParallelConfig
from pangu_alpha.console import duration
from pangu_alpha.convert import (
    open_source,
    total_bytes,
    weights_of,
    weights_of_checkpoint,
    write_checkpoint,
    write_dialect,
)
from pangu_alpha.convert.dialects import DIALECTS
from pangu_alpha.convert.mindspore_file import tensor_head
from pangu_alpha.convert.released import layouts_of
from pangu_alpha.convert.stored import num_bytes
from pangu_alpha.convert.strategy import write_strategy
from pangu_alpha.parallel.parameters import num_parameters, parameter_names

LIMIT = 2 << 30
LAYOUT = ParallelConfig(dp=64, mp=8, optimizer_sharding=True)
TABLES = ("word_embedding", "position_embedding", "top_query_embedding")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--written-layers", type=int, default=4, help="of the network that is written (default 4)")
    parser.add_argument("--folder", type=Path, help="on the disk to be used (default: that of temporary files)")
    arguments = parser.parse_args()
    whole = ModelConfig(**MODEL_PRESETS["13b"])
    few = whole.model_copy(update={"num_layers": arguments.written_layers})
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        root = Path(name)
        for folder, model in (("whole", whole), ("few", few)):
            write_zeros(root / folder, model)
        report("read 13B, 40 layers", whole, read_all, root / "whole", 40)
        report(f"import {arguments.written_layers} layers", few, import_all, root / "few", few.num_heads, root / "ours")
        report(f"export {arguments.written_layers} layers", few, export_all, root / "ours", root / "hf")


def write_zeros(folder: Path, model: ModelConfig) -> None:
    """The released form of a network of zeros, in files with holes."""
    folder.mkdir()
    layouts, shapes = layouts_of(model, LAYOUT), DIALECTS["released"].shapes(model)
    write_strategy(folder / "strategy.ckpt", layouts)
    tables = dict(zip(DIALECTS["released"].tables, TABLES, strict=True))
    for name, table in tables.items():
        np.save(folder / f"{table}.npy", np.zeros(shapes[name], np.float16))
    for rank in range(LAYOUT.num_devices):
        with (folder / f"filerted_{rank}.ckpt").open("wb") as file:
            for name, shape in shapes.items():
                if name not in tables:
                    part = layouts[name].box(rank, shape).shape
                    file.write(tensor_head(name, part, "float16"))
                    file.seek(num_bytes(part, "float16"), os.SEEK_CUR)
            file.truncate(file.tell())


def read_all(folder: Path, num_heads: int) -> None:
    source = open_source(folder, "released")
    config, weights = weights_of(source, [f"model.num_heads={num_heads}"])
    for name in parameter_names(config.model):
        weights.read(name)


def import_all(folder: Path, num_heads: int, output: Path) -> None:
    source = open_source(folder, "released")
    config, weights = weights_of(source, [f"model.num_heads={num_heads}"])
    write_checkpoint(output, config, weights, {}, lambda amount: None)


def export_all(folder: Path, output: Path) -> None:
    weights = weights_of_checkpoint(open_checkpoint(checkpoints_at(folder)[-1]))
    write_dialect(output, "huggingface-sunzeyeah", weights, ParallelConfig(), "float16", lambda amount: None)


def report(what: str, model: ModelConfig, work: Callable[..., None], *arguments: object) -> None:
    """Run `work` in a process of its own and print its time and its peak of memory."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_measured, args=(queue, work, arguments))
    process.start()
    process.join()
    seconds, peak = queue.get(timeout=10)
    speed = total_bytes(model) / seconds / 1e6
    print(
        f"{what}: {num_parameters(model) / 1e9:.2f} billion parameters in {duration(seconds)} ({speed:,.0f} MB/s of "
        f"float32), at most {peak / 2**30:.2f} GiB of memory, {peak / LIMIT:.2f} of 2 GiB"
    )


def _measured(
    queue: multiprocessing.Queue[tuple[float, int]], work: Callable[..., None], arguments: tuple[object]
) -> None:
    begin = time.perf_counter()
    work(*arguments)
    queue.put((time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))


if __name__ == "__main__":
    main()
