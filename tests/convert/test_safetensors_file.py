"""Files of safetensors beside the library's own reader and writer, and planted faults."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pangu_alpha.convert.safetensors_file import read_safetensors, write_safetensors
from pangu_alpha.errors import DamagedError

VALUES = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.arange(5, dtype=np.float32) / 4}


def test_the_library_reads_what_is_written_here(tmp_path: Path) -> None:
    shapes = {name: value.shape for name, value in VALUES.items()}
    write_safetensors(tmp_path / "x", shapes, VALUES.values(), "float16")
    for name, value in load_file(tmp_path / "x").items():
        assert value.dtype == np.float16 and np.array_equal(value, VALUES[name])


def test_what_the_library_writes_is_read_here(tmp_path: Path) -> None:
    save_file({**VALUES, "half": VALUES["b"].astype(np.float16), "ids": np.arange(3)}, tmp_path / "x")
    found = read_safetensors(tmp_path / "x")
    assert set(found) == {"a", "b", "half"}  # numbers of another kind are no weights
    assert np.array_equal(found["half"].read(), VALUES["b"]) and np.array_equal(found["b"].read(1, 2), VALUES["b"][1:])


def _head(path: Path, change: str, to: str) -> None:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    head = data[8 : 8 + length].decode().replace(change, to)
    assert json.loads(head)
    path.write_bytes(len(head.encode()).to_bytes(8, "little") + head.encode() + data[8 + length :])


@pytest.mark.parametrize(
    ("change", "to", "said"),
    [
        ("[2,3]", "[2,4]", r"b \[2, 4\] in float32 has 24 bytes"),
        ("[0,24]", "[0,20]", r"b \[2, 3\] in float32 has 20 bytes"),
        ("[24,44]", "[20,40]", "a is at 20 to 40"),
        ("[24,44]", "[24,48]", "a is at 24 to 48 of 44 bytes"),
        ('"data_offsets":[0,24]', '"offsets":[0,24]', "data_offsets"),
    ],
)
def test_heads_that_do_not_fit(tmp_path: Path, change: str, to: str, said: str) -> None:
    path = tmp_path / "x"
    write_safetensors(path, {name: value.shape for name, value in VALUES.items()}, VALUES.values(), "float32")
    _head(path, change, to)
    with pytest.raises(DamagedError, match=said):
        read_safetensors(path)


@pytest.mark.parametrize("size", [0, 5, 40, -4, -1])
def test_cut_off_files(tmp_path: Path, size: int) -> None:
    path = tmp_path / "x"
    write_safetensors(path, {name: value.shape for name, value in VALUES.items()}, VALUES.values(), "float32")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DamagedError, match="is damaged or cut off"):
        read_safetensors(path)
