"""Fused kernels that a killed process has left torn are made again; a folder that cannot be written is named."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from pangu_alpha.files import file_sha256
from pangu_alpha.runtime import kernel_cache
from pangu_alpha.runtime.kernel_cache import prepare_kernel_cache


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A kernel of four files, as MindSpore keeps it."""
    folder = tmp_path / "akg_kernel_meta"
    folder.mkdir()
    (tmp_path / "a.c").write_text("int f(void) { return 1; }")
    subprocess.run(["gcc", "-shared", "-o", folder / "Fused_Add_1.so", tmp_path / "a.c"], check=True)
    (folder / "Fused_Add_1.o").write_bytes(b"object")
    checksums = {"sha256": file_sha256(folder / "Fused_Add_1.so"), "objSha256": file_sha256(folder / "Fused_Add_1.o")}
    (folder / "Fused_Add_1.json").write_text(json.dumps({"kernelName": "Fused_Add_1_kernel", **checksums}))
    (folder / "Fused_Add_1.info").write_text("{}")
    return tmp_path


def test_whole_kernels_stay(cache: Path) -> None:
    assert prepare_kernel_cache(cache)
    assert len(list((cache / "akg_kernel_meta").iterdir())) == 4


@pytest.mark.parametrize("ending", [".so", ".o", ".json", ".info"])
@pytest.mark.parametrize("share", [0.0, 0.6])
def test_a_torn_file_takes_its_kernel_along(
    cache: Path, ending: str, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    path = cache / "akg_kernel_meta" / f"Fused_Add_1{ending}"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert prepare_kernel_cache(cache)
    assert list((cache / "akg_kernel_meta").iterdir()) == []
    assert f"Fused_Add_1 in {cache / 'akg_kernel_meta'} is damaged" in capsys.readouterr().err


def test_a_description_that_is_nested_too_deeply_is_damaged(cache: Path) -> None:
    (cache / "akg_kernel_meta" / "Fused_Add_1.json").write_bytes(b"[" * 100_000)
    assert prepare_kernel_cache(cache)
    assert list((cache / "akg_kernel_meta").iterdir()) == []


def test_one_bit_of_a_library_is_noticed(cache: Path) -> None:
    path = cache / "akg_kernel_meta" / "Fused_Add_1.so"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert prepare_kernel_cache(cache)
    assert list((cache / "akg_kernel_meta").iterdir()) == []


def test_what_another_process_is_writing_stays(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "akg_kernel_meta" / "Fused_Mul_2.so").write_bytes(b"")
    description = cache / "akg_kernel_meta" / "Fused_Add_1.json"
    content = description.read_bytes()
    description.write_bytes(b"")
    monkeypatch.setattr(kernel_cache.time, "sleep", lambda _: description.write_bytes(content))
    assert prepare_kernel_cache(cache)
    assert len(list((cache / "akg_kernel_meta").iterdir())) == 5


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert not prepare_kernel_cache(tmp_path / "file")
    said = capsys.readouterr().err
    assert str(tmp_path / "file") in said and "operators are not fused" in said and "XDG_CACHE_HOME" in said
    shutil.rmtree(tmp_path)
