"""The released form: a `.ckpt` file of each rank with its slices, the strategy file, and three tables as `.npy`.

No file says of which rank it is but its name, and none has a checksum.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from pangu_alpha.config import ModelConfig, ParallelConfig
from pangu_alpha.console import progress
from pangu_alpha.convert.dialects import DIALECTS
from pangu_alpha.convert.mindspore_file import append_tensor, read_ckpt
from pangu_alpha.convert.source import Source
from pangu_alpha.convert.stored import DTYPES, Array, Kind, Stored, Tensor, as_kind
from pangu_alpha.convert.strategy import Layout, read_strategy, write_strategy
from pangu_alpha.errors import CheckpointError, DamagedError
from pangu_alpha.parallel.parameters import Shape, row_of
from pangu_alpha.parallel.parts import Box
from pangu_alpha.reading import list_folder

DIALECT = DIALECTS["released"]
_SLICE = re.compile(r"(.*?)_?(\d+)\.ckpt")
_TABLES = ("word_embedding.npy", "position_embedding.npy", "top_query_embedding.npy")
STRATEGY = "strategy.ckpt"
_PREFIX = "filerted"
"""As in the release."""


def slice_files(folder: Path) -> dict[int, Path]:
    """The files of slices in a folder, by the rank in their name.

    Raises:
        CheckpointError: they are of two series.
    """
    found: dict[str, dict[int, Path]] = {}
    for path in list_folder(folder, "*.ckpt"):
        if (match := _SLICE.fullmatch(path.name)) and "strategy" not in path.name:
            found.setdefault(match[1], {})[int(match[2])] = path
    if len(found) > 1:
        raise CheckpointError(f"{folder} holds slices of {len(found)} series: {', '.join(sorted(found))}_*.ckpt")
    return next(iter(found.values()), {})


def open_released(folder: Path, strategy: Path | None) -> Source:
    """The weights in a folder.

    Args:
        folder: of slices and tables.
        strategy: the strategy file; None: the one in the folder with "strategy" in its name.

    Raises:
        CheckpointError, DamagedError: files are missing, or are not what their names say.
    """
    layouts = read_strategy(strategy or _find_strategy(folder))
    files = slice_files(folder)
    num_ranks = max(layout.num_devices for layout in layouts.values())
    missing = sorted(set(range(num_ranks)) - set(files))
    if missing or len(files) != num_ranks:
        words = f"slices of rank {missing[:8]} are missing" if missing else "there are more"
        raise CheckpointError(
            f"{folder} has {len(files)} files of slices, the strategy file {num_ranks} ranks: {words}"
        )
    slices: dict[str, dict[int, Stored]] = {}
    with progress("looking through the slices", num_ranks, "files") as advance:
        for rank in range(num_ranks):
            for name, stored in read_ckpt(files[rank]).items():
                slices.setdefault(name, {})[rank] = stored
            advance(1)
    left_out = tuple(name for name in slices if DIALECT.ignored.fullmatch(name))
    for name in left_out:
        del slices[name]
    tensors = {name: _tensor(name, layouts, held) for name, held in slices.items()}
    for name, ending in zip(DIALECT.tables, _TABLES, strict=True):
        tensors[name] = Tensor.of(_table(folder, ending))
    return Source(folder, DIALECT, tensors, {}, left_out)


def _find_strategy(folder: Path) -> Path:
    found = list_folder(folder, "*strategy*.ckpt")
    if len(found) != 1:
        raise CheckpointError(
            f"{folder} has {len(found)} files with `strategy` in their name: name the strategy file with --strategy"
        )
    return found[0]


def _table(folder: Path, ending: str) -> Stored:
    found = list_folder(folder, f"*{ending}")
    if len(found) != 1:
        raise CheckpointError(f"{folder} has {len(found)} files *{ending}, and one is needed: the table is in no slice")
    (path,) = found
    try:
        with path.open("rb") as file:
            major, _ = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
            shape, is_fortran, dtype = read(file)
            begin = file.tell()
    except (ValueError, EOFError) as error:
        raise DamagedError(f"{path} is damaged, or not a .npy file: {error}") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    kinds = [kind for kind, known in DTYPES.items() if known == dtype]
    if is_fortran or not kinds or len(shape) != 2:
        raise CheckpointError(
            f"{path} holds {dtype}{list(shape)}: a table has two dims of float32 or float16, row by row"
        )
    size = int(np.prod(shape)) * dtype.itemsize
    if path.stat().st_size != begin + size:
        raise DamagedError(f"{path} is cut off: {path.stat().st_size:,} bytes, and it should have {begin + size:,}")
    return Stored(path, kinds[0], tuple(map(int, shape)), ((begin, size),))


def _tensor(name: str, layouts: Mapping[str, Layout], held: Mapping[int, Stored]) -> Tensor:
    layout = layouts.get(name)
    first = next(iter(held.values()))
    if layout is None:
        raise CheckpointError(f"{first.path} holds {name}, of which the strategy file says nothing")
    if len(layout.tensor_map) != len(first.shape):
        raise CheckpointError(f"{name} is {list(first.shape)} in {first.path}, the strategy cuts {layout.tensor_map}")
    lacking = sorted(set(range(layout.num_devices)) - set(held))
    if lacking:
        raise CheckpointError(f"{name} is not in the files of rank {lacking[:8]}")
    for stored in held.values():
        if stored.shape != first.shape:
            raise CheckpointError(
                f"{name} is {list(stored.shape)} in {stored.path.name} and {list(first.shape)} in {first.path.name}"
            )
    whole = layout.whole(first.shape)
    boxes: dict[Box, Stored] = {}
    for rank, stored in held.items():  # of ranks that hold the same, the first one's is read
        boxes.setdefault(layout.box(rank, whole), stored)

    def read() -> Array:
        values = np.empty(whole, np.float32)
        for box, stored in boxes.items():
            values[box.index] = stored.read()
        return values

    return Tensor(whole, read)


def layouts_of(model: ModelConfig, parallel: ParallelConfig) -> dict[str, Layout]:
    """How the release cuts the weights of a network on a matrix of dp × mp devices, by their names there."""
    layouts = {}
    for name, place in DIALECT.places(model).items():
        cut = row_of(name).cut[::-1] if place.is_transposed else row_of(name).cut
        is_cut = "mp" in cut and place.name not in DIALECT.tables
        tensor_map = tuple(0 if axis == "mp" and is_cut else -1 for axis in cut)
        is_sharded = is_cut and parallel.optimizer_sharding
        step, size = (parallel.mp, -1) if is_sharded else (0, 0)
        layouts[place.name] = Layout((parallel.dp, parallel.mp), tensor_map, step, size)
    return layouts


def write_released(
    folder: Path, model: ModelConfig, parallel: ParallelConfig, tensors: Iterator[tuple[str, Array]], kind: Kind
) -> None:
    """Write weights as dp × mp ranks would have saved them.

    Args:
        folder: new.
        model: the network.
        parallel: of it dp, mp and optimizer_sharding.
        tensors: name and values there, of all of them.
        kind: of the numbers.

    Raises:
        CheckpointError: the ranks do not divide a dim, or a number is too large for `kind`.
        OSError: the disk is full or not writable.
    """
    layouts, shapes = layouts_of(model, parallel), DIALECT.shapes(model)
    for name, layout in layouts.items():
        _require_divisible(name, shapes[name], layout)
    folder.mkdir(parents=True)
    write_strategy(folder / STRATEGY, layouts)
    tables = dict(zip(DIALECT.tables, _TABLES, strict=True))
    for name, values in tensors:
        if name in tables:
            np.save(folder / tables[name], as_kind(name, values, kind))
            continue
        for rank in range(parallel.dp * parallel.mp):
            part = values[layouts[name].box(rank, values.shape).index]
            append_tensor(folder / f"{_PREFIX}_{rank}.ckpt", name, part, kind)


def _require_divisible(name: str, shape: Shape, layout: Layout) -> None:
    cuts = (layout.cuts[0] * layout.num_shards, *layout.cuts[1:])
    if any(size % cut for size, cut in zip(shape, cuts, strict=True)):
        raise CheckpointError(
            f"{name} {list(shape)} cannot be cut in {list(cuts)} equal parts: choose other parallel.dp and "
            "parallel.mp, or parallel.optimizer_sharding=false"
        )
