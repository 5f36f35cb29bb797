"""Is saving and loading a checkpoint as fast as copying the same bytes?

A network of about 120 million parameters, random weights and moments (1.5 GB): saved by the ranks of a mesh, each a
process, two at a time; read by the ranks of another, one after the other; beside `cp -r` and a flush of the same
folder, in alternating rounds of one run. Then the plan of the largest recipe: what one rank writes, how long that takes
to find out, and how many files a rank of half as many opens.

    python benchmarks/checkpoint.py --rounds 5
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from pangu_alpha.checkpoint import Checkpoint, Save, commit, open_checkpoint, save_part
from pangu_alpha.checkpoint.index import Cells, Index, group_of
from pangu_alpha.checkpoint.slice_file import Seal
from pangu_alpha.config import ParallelConfig, RunConfig, load_config
from pangu_alpha.parallel import parts as parts_module
from pangu_alpha.parallel.parameters import MOMENTS, row_of, tensor_names
from pangu_alpha.parallel.parts import held_parts, owned_boxes, without_padding

WRITERS = ParallelConfig(dp=2, mp=2, pp=2, optimizer_sharding=True)
READERS = ParallelConfig(dp=4, mp=1, pp=2)
SIZES = "model={num_layers: 16, hidden_size: 768, num_heads: 12, vocab_size: 8192, seq_length: 1024}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="of saving, loading and copying (default 5)")
    parser.add_argument("--folder", type=Path, help="on the disk to be measured (default: that of temporary files)")
    arguments = parser.parse_args()
    measure_speed(arguments.rounds, arguments.folder)
    measure_plan(load_config("200b_2048"), load_config("200b_1024"))


def measure_speed(rounds: int, folder: Path | None) -> None:
    config = load_config("tiny_cpu", [SIZES, "model.final_norm=before_query_layer"])
    rng = np.random.default_rng(1)
    whole = {
        name: rng.standard_normal(row_of(name).shape(config.model), np.float32) for name in tensor_names(config.model)
    }
    num_bytes = sum(value.nbytes for value in whole.values())
    speeds: dict[str, list[float]] = {"save": [], "load": [], "cp": []}
    with tempfile.TemporaryDirectory(dir=folder) as name:
        root = Path(name)
        for number in range(rounds + 1):  # the first is not counted
            found: dict[str, float] = {}
            begin = time.perf_counter()
            checkpoint = _save(root, config, whole)
            found["save"] = time.perf_counter() - begin
            begin = time.perf_counter()
            read = _load(checkpoint, config)
            found["load"] = time.perf_counter() - begin
            begin = time.perf_counter()
            subprocess.run(["cp", "-r", str(checkpoint.path), str(root / "copy")], check=True)
            _flush(root / "copy")
            found["cp"] = time.perf_counter() - begin
            shutil.rmtree(root / "copy")
            if number:
                for key, seconds in found.items():
                    speeds[key].append((read if key == "load" else num_bytes) / seconds / 1e6)
    print(f"{num_bytes / 1e6:,.0f} MB of weights and moments, {rounds} rounds; MB/s, median (lowest to highest)")
    for key, values in speeds.items():
        print(f"{key:5} {statistics.median(values):7,.0f} ({min(values):,.0f} to {max(values):,.0f})")
    for key, bar in (("save", 0.7), ("load", 0.9)):
        ratios = [ours / theirs for ours, theirs in zip(speeds[key], speeds["cp"], strict=True)]
        print(f"{key} ÷ cp: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); wanted ≥ {bar}")


def _save(root: Path, config: RunConfig, whole: dict[str, np.ndarray]) -> Checkpoint:
    save = Save(root, 1, "benchmark")

    def write(rank: int) -> None:
        boxes = owned_boxes(config.model, WRITERS, rank)
        save_part(save, rank, boxes, lambda mine: (whole[name][box.index] for name, box in mine.items()))

    half = WRITERS.num_devices // 2
    for ranks in zip(range(half), range(half, 2 * half), strict=True):
        processes = [multiprocessing.get_context("fork").Process(target=write, args=(rank,)) for rank in ranks]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    shapes = {name: value.shape for name, value in whole.items()}
    return open_checkpoint(commit(save, WRITERS.num_devices, shapes, {}))


def _load(checkpoint: Checkpoint, config: RunConfig) -> int:
    """Every part that every rank of the other mesh holds; the bytes."""
    num_bytes = 0
    for rank in range(READERS.num_devices):
        for base, held in held_parts(config.model, READERS, rank).items():
            for name in (base, *(prefix + base for prefix in MOMENTS)):
                num_bytes += checkpoint.read(name, without_padding(name, held, config.model)).nbytes
        checkpoint.close()
    return num_bytes


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)


def measure_plan(writers: RunConfig, readers: RunConfig) -> None:
    """From the recipes alone: nothing is written."""
    parts_module._turns.cache_clear()
    parts_module._names_of.cache_clear()
    begin = time.perf_counter()
    owned_boxes(writers.model, writers.parallel, writers.parallel.num_devices // 2)
    seconds = time.perf_counter() - begin
    files: dict[str, int] = {}
    held: dict[str, dict[tuple[int, ...], int]] = {name: {} for name in tensor_names(writers.model)}
    cells: dict[str, tuple[int, ...]] = {}
    written = []
    for rank in range(writers.parallel.num_devices):
        boxes = owned_boxes(writers.model, writers.parallel, rank)
        written.append(4 * sum(box.num_elements for box in boxes.values()))
        for name, box in boxes.items():
            number = files.setdefault(f"{group_of(name)}/rank_{rank:05d}.safetensors", len(files))
            held[name][box.begin] = number
            if not any(box.begin):
                cells[name] = box.shape
    tensors = {
        name: Cells(row_of(name).shape(writers.model), cells[name], tuple(held[name][at] for at in sorted(held[name])))
        for name in held
    }
    index = Index(1, {}, None, tuple((path, Seal(0, "0" * 16)) for path in files), tensors)
    sizes = f"{min(written) / 1e9:.2f} to {max(written) / 1e9:.2f} GB a rank"
    pieces = sum(len(item.files) for item in tensors.values())
    print(
        f"{writers.parallel.num_devices:,} ranks: the plan of one takes {seconds:.2f} s (wanted ≤ 1); {len(files):,} "
        f"files, {sum(written) / 1e12:.2f} TB, {sizes}, {pieces:,} pieces"
    )
    opened: Counter[int] = Counter()
    for rank in range(0, readers.parallel.num_devices, 16):
        numbers = set()
        for base, part in held_parts(readers.model, readers.parallel, rank).items():
            for name in (base, *(prefix + base for prefix in MOMENTS)):
                box = without_padding(name, part, readers.model)
                numbers |= {number for _, number in index.tensors[name].covering(box)}
        opened[len(numbers)] += 1
    print(
        f"read by {readers.parallel.num_devices:,} ranks: a rank opens {min(opened)} to {max(opened)} files "
        f"(wanted ≤ 12), of {sum(opened.values())} ranks looked at"
    )


if __name__ == "__main__":
    main()
