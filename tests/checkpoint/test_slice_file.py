from __future__ import annotations

import resource
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from pangu_alpha.checkpoint.slice_file import BLOCK_BYTES, Seal, SliceFile, write_slices, write_zeros
from pangu_alpha.errors import DamagedError
from pangu_alpha.parallel.parts import Box

TENSORS = {
    "long": np.arange(BLOCK_BYTES // 2, dtype=np.float32),  # two blocks
    "wide": np.arange(12 * 300_000, dtype=np.float32).reshape(12, 300_000),  # rows of more than a block
    "tall": np.arange(3001 * 300, dtype=np.float32).reshape(3001, 300),
    "one": np.float32([5.0]),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Seal]:
    path = tmp_path_factory.mktemp("slices") / "rank_00000.safetensors"
    shapes = {name: value.shape for name, value in TENSORS.items()}
    return path, write_slices(path, shapes, TENSORS.values(), {"step": "5"})


def test_any_reader_of_safetensors_opens_it(written: tuple[Path, Seal]) -> None:
    found = load_file(written[0])
    assert set(found) == set(TENSORS)
    for name, value in TENSORS.items():
        np.testing.assert_array_equal(found[name], value)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_box_is_read_exactly(written: tuple[Path, Seal], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(TENSORS)))
    begin, shape = [], []
    for size in TENSORS[name].shape:
        first = data.draw(st.integers(0, size - 1))
        begin.append(first)
        shape.append(data.draw(st.integers(1, size - first)))
    box = Box(tuple(begin), tuple(shape))
    with closing(SliceFile(*written)) as file:
        np.testing.assert_array_equal(file.read(name, box), TENSORS[name][box.index])


def test_no_more_than_the_blocks_of_a_box_are_read(written: tuple[Path, Seal], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    bytes_of = SliceFile._bytes

    def counted(self: SliceFile, offset: int, count: int) -> memoryview:
        read.append(count)
        return bytes_of(self, offset, count)

    monkeypatch.setattr(SliceFile, "_bytes", counted)
    with closing(SliceFile(*written)) as file:
        file.read("tall", Box((1000, 0), (10, 300)))
        assert sum(read) <= 2 * BLOCK_BYTES
        read.clear()
        file.read("wide", Box((4, 7), (2, 5)))
        assert sum(read) == 2 * 300_000 * 4


@pytest.mark.parametrize("place", [3, 40, 2000, BLOCK_BYTES + 50_000, -1], ids=["length", "head", "a", "b", "last"])
def test_a_flipped_byte_is_found_by_who_reads_it(written: tuple[Path, Seal], tmp_path: Path, place: int) -> None:
    content = bytearray(written[0].read_bytes())
    content[place] ^= 0x10
    path = tmp_path / "rank_00000.safetensors"
    path.write_bytes(content)

    def read_all() -> None:
        with closing(SliceFile(path, written[1])) as file:
            for name in TENSORS:
                for _ in file.check(name):
                    pass

    with pytest.raises(DamagedError, match=r"rank_00000.safetensors .*damaged"):
        read_all()


def test_damage_elsewhere_does_not_matter_to_who_does_not_read_it(written: tuple[Path, Seal], tmp_path: Path) -> None:
    content = bytearray(written[0].read_bytes())
    content[-1] ^= 1  # of "one"
    path = tmp_path / "rank_00000.safetensors"
    path.write_bytes(content)
    with closing(SliceFile(path, written[1])) as file:
        np.testing.assert_array_equal(file.read("long", Box((7,), (9,))), TENSORS["long"][7:16])


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_a_file_that_was_cut_off_is_refused(written: tuple[Path, Seal], tmp_path: Path, size: int) -> None:
    path = tmp_path / "rank_00000.safetensors"
    path.write_bytes(written[0].read_bytes()[:size])
    before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(DamagedError, match="its writer wrote") as caught:
        SliceFile(path, written[1])
    assert caught and set(Path("/proc/self/fd").iterdir()) <= before, "the file is still open"


@pytest.mark.parametrize(
    "head",
    [
        b"[" * 200_000,
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": []}}',
        b'{"a": {"dtype": "F32", "shape": ["q"], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0.5, 4]}}',
        b'{"a": 7}',
    ],
    ids=["nested", "no offsets", "shape", "offset", "number"],
)
def test_a_head_of_another_form_is_refused(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(head).to_bytes(8, "little") + head)
    with pytest.raises(DamagedError, match="its head cannot be read"):
        SliceFile(path, None)


def test_types_that_are_no_words_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    head = b'{"a": {"dtype": 7, "shape": [1], "data_offsets": [0, 4]}}'
    path.write_bytes(len(head).to_bytes(8, "little") + head)
    with pytest.raises(DamagedError, match="holds 7; a checkpoint's tensors are F32"):
        SliceFile(path, None)


def test_another_file_of_the_same_length_is_refused(tmp_path: Path) -> None:
    """As a stale file of another attempt would be."""
    seals = []
    for number in range(2):
        path = tmp_path / f"{number}.safetensors"
        seals.append(write_slices(path, {"a": (2,)}, [np.float32([number, 7])], {}))
    assert seals[0].num_bytes == seals[1].num_bytes
    with pytest.raises(DamagedError, match="its head is not what was written"):
        SliceFile(tmp_path / "1.safetensors", seals[0])


def test_a_tensor_of_another_shape_or_type_is_not_written(tmp_path: Path) -> None:
    for wrong in (np.zeros((2, 3), np.float32), np.zeros((3, 2), np.float64)):
        with pytest.raises(ValueError, match=r"a is .*not float32\[3, 2\]"):
            write_slices(tmp_path / "x", {"a": (3, 2)}, [wrong], {})


_PEAK = """
import resource, sys
import numpy as np
from pathlib import Path
from pangu_alpha.checkpoint.slice_file import SliceFile, write_slices, write_zeros
from pangu_alpha.parallel.parts import Box

peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
path, shape = Path(sys.argv[1]), (64 << 10, 1 << 10)  # 256 MiB
values = np.ones((64 << 10, 2 << 10), np.float32)[:, ::2]  # columns of a larger tensor: must be put together
before = peak()
seal = write_slices(path, {"a": shape}, [values], {})
saving = peak() - before
del values
part = Box((0, 0), (64 << 10, 256))  # 64 MiB of columns, so that all rows are read
before = peak()
SliceFile(path, seal).read("a", part)
print(saving, max(0.0, peak() - before - 64))
"""


def test_memory_stays_small(tmp_path: Path) -> None:
    """Extra memory while saving ≤ 64 MiB; while loading ≤ what is loaded + 64 MiB."""
    assert resource.RUSAGE_SELF is not None
    command = [sys.executable, "-c", _PEAK, str(tmp_path / "big.safetensors")]
    saving, loading = map(float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    assert saving <= 64 and loading <= 64


def test_zeros_take_no_space_and_are_read_and_checked(tmp_path: Path) -> None:
    shapes = {"wide": (64, 1 << 20), "one": (1,)}
    path = tmp_path / "zeros.safetensors"
    seal = write_zeros(path, shapes, {"step": "5"})
    assert seal.num_bytes == path.stat().st_size > 4 << 26 and path.stat().st_blocks * 512 < 1 << 20
    written = tmp_path / "written.safetensors"
    assert (
        write_slices(written, shapes, (np.zeros(shape, np.float32) for shape in shapes.values()), {"step": "5"}) == seal
    )
    with closing(SliceFile(path, seal)) as file:
        assert not file.read("wide", Box((3, 5), (2, 7))).any()
        assert sum(file.check("wide")) == 4 << 26
