"""Fused kernels that a killed process has left torn are made again; a folder that cannot be written is named."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pangu_alpha.training.kernel_cache import prepare_kernel_cache


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A kernel of three files, and an old date on all of them."""
    folder = tmp_path / "akg_kernel_meta"
    folder.mkdir()
    (tmp_path / "a.c").write_text("int f(void) { return 1; }")
    subprocess.run(["gcc", "-shared", "-o", folder / "Fused_Add_1.so", tmp_path / "a.c"], check=True)
    (folder / "Fused_Add_1.json").write_text("{}")
    (folder / "Fused_Add_1.info").write_text("{}")
    return tmp_path


def _age(cache: Path) -> None:
    for path in (cache / "akg_kernel_meta").iterdir():
        os.utime(path, (0, 0))


def test_whole_kernels_stay(cache: Path) -> None:
    _age(cache)
    assert prepare_kernel_cache(cache)
    assert len(list((cache / "akg_kernel_meta").iterdir())) == 3


@pytest.mark.parametrize("ending", [".so", ".json", ".info"])
@pytest.mark.parametrize("share", [0.0, 0.6])
def test_a_torn_file_takes_its_kernel_along(
    cache: Path, ending: str, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    path = cache / "akg_kernel_meta" / f"Fused_Add_1{ending}"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    _age(cache)
    assert prepare_kernel_cache(cache)
    assert list((cache / "akg_kernel_meta").iterdir()) == []
    assert f"Fused_Add_1 in {cache / 'akg_kernel_meta'} is damaged" in capsys.readouterr().err


def test_a_file_that_another_process_may_be_writing_stays(cache: Path) -> None:
    (cache / "akg_kernel_meta" / "Fused_Mul_2.so").write_bytes(b"")
    assert prepare_kernel_cache(cache)
    assert (cache / "akg_kernel_meta" / "Fused_Mul_2.so").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert not prepare_kernel_cache(tmp_path / "file")
    said = capsys.readouterr().err
    assert str(tmp_path / "file") in said and "operators are not fused" in said and "XDG_CACHE_HOME" in said
    shutil.rmtree(tmp_path)
