"""Files of PyTorch, which is not installed here: two that PyTorch 2.14 has written, and pickles that attack.

`written_by_torch/` was made by `torch.save`: of one tree as an archive and in the form before 1.6, and of a transposed
tensor.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pangu_alpha.convert.torch_file import TorchWriter, read_torch
from pangu_alpha.convert.torch_pickle import Inert
from pangu_alpha.errors import CheckpointError, DamagedError

WRITTEN = Path(__file__).with_name("written_by_torch")


@pytest.mark.parametrize("name", ["archive.pt", "older.pt"])
def test_what_pytorch_writes(name: str) -> None:
    """float32, a view of float16, bfloat16, a parameter that shares numbers; beside them the state of a training."""
    found = read_torch(WRITTEN / name)
    outer = "model.language_model"
    expected = {
        f"{outer}.embedding.weight": ("float32", np.arange(12).reshape(3, 4) / 8),
        f"{outer}.transformer.layers.0.half": ("float16", np.arange(4, 16).reshape(2, 6)),
        f"{outer}.transformer.layers.0.wide": ("bfloat16", np.array([1.5, -2.25])),
        f"{outer}.transformer.p": ("float32", np.arange(4, 8) / 8),
    }
    assert list(found.tensors) == list(expected)
    for key, (kind, values) in expected.items():
        assert found.tensors[key].kind == kind
        assert np.array_equal(found.tensors[key].read(), values), key
    assert np.array_equal(found.tensors[f"{outer}.embedding.weight"].read(1, 2), [[0.5, 0.625, 0.75, 0.875]])
    arguments = found.others["args"]
    assert isinstance(arguments, Inert) and arguments.state["num_attention_heads"] == 4
    assert found.others["iteration"] == 7 and "mask" in found.others


def test_a_tensor_that_does_not_lie_row_by_row_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"a tensor \[4, 3\] that does not lie row by row: save it as"):
        read_torch(WRITTEN / "transposed.pt")


class Attack:
    """Calls a function when a pickle of it is loaded as usual."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def archive(path: Path, data: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", data)
    return path


def attacks(target: Path) -> list[tuple[Attack, str]]:
    nested = Attack(getattr, Attack(__import__, "os"), "system")
    return [
        (Attack(os.mkdir, str(target)), r"posix\.mkdir"),
        (Attack(eval, f"open({str(target)!r}, 'w')"), r"\w+\.eval"),
        (Attack(pickle.loads, pickle.dumps(Attack(os.mkdir, str(target)))), r"\w+\.loads"),
        (nested, r"\w+\.getattr"),
    ]


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("is_archive", [True, False])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_that_attacks_runs_nothing(tmp_path: Path, number: int, is_archive: bool, protocol: int) -> None:
    target = tmp_path / "was_here"
    attack, name = attacks(target)[number]
    data = pickle.dumps({"model": {"w": attack}}, protocol=protocol)
    path = archive(tmp_path / "x.pt", data) if is_archive else tmp_path / "x.pt"
    if not is_archive:
        path.write_bytes(data)
    with pytest.raises(CheckpointError, match=rf"it wants to call {name}, which has no place in a file of weights"):
        read_torch(path)
    assert not target.exists()
    if number == 0:  # as usual it would
        pickle.loads(data)
        assert target.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02ctorch\nFloatStorage\n(tR.",  # a type is called
        b"\x80\x02(X\x07\x00\x00\x00storagetQ.",  # a storage of one word
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(tR.",
        b"\x80\x02cos\n",
        b"\x80\x02" + b"(" * 10_000,
        b"",
    ],
)
def test_pickles_of_nonsense(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(CheckpointError):
        read_torch(archive(tmp_path / "x.pt", data))


def test_a_pickle_that_repeats_itself_without_end_is_refused(tmp_path: Path) -> None:
    tree: Any = {"a": 1}
    for _ in range(11):
        tree = {str(number): tree for number in range(8)}
    with pytest.raises(CheckpointError, match="it holds more than 100,000 things, or too deep ones"):
        read_torch(archive(tmp_path / "x.pt", pickle.dumps(tree, protocol=2)))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    writer = TorchWriter(tmp_path / "whole.pt", {"iteration": 1, "model": {"w": (3, 5)}}, "float32")
    writer.write("model.w", np.arange(15, dtype=np.float32).reshape(3, 5))
    writer.close()
    return tmp_path / "whole.pt"


def test_a_tensor_that_leaves_its_storage_is_refused(written: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(written) as file:
        data = file.read("archive/data.pkl")
    place = data.index(b"tQ\x8a\x09") + 4  # the offset
    with pytest.raises(CheckpointError, match=r"a tensor \[3, 5\] that leaves its storage of 15 numbers"):
        read_torch(archive(tmp_path / "x.pt", data[:place] + b"\x01" + data[place + 1 :]))


@pytest.mark.parametrize("name", ["archive.pt", "older.pt"])
def test_cut_off_files(tmp_path: Path, name: str) -> None:
    data = (WRITTEN / name).read_bytes()
    for size in (0, 3, 100, len(data) // 2, len(data) - 1):
        (tmp_path / name).write_bytes(data[:size])
        with pytest.raises((CheckpointError, DamagedError)):
            read_torch(tmp_path / name)


def test_a_changed_number_is_noticed(written: Path) -> None:
    data = bytearray(written.read_bytes())
    place = data.index(np.arange(15, dtype=np.float32).tobytes())
    data[place + 9] ^= 1
    written.write_bytes(data)
    with pytest.raises(DamagedError, match="a tensor's checksum is not its own"):
        read_torch(written).tensors["model.w"].read()


def test_compressed_archives_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
    with pytest.raises(DamagedError, match=r"archive/data\.pkl is compressed"):
        read_torch(tmp_path / "x.pt")
