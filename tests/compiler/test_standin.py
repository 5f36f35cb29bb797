import ctypes
import os
import shutil
import threading
from pathlib import Path

import pytest

from pangu_alpha.compiler import standin
from pangu_alpha.compiler.standin import build_standin, real_cann, simulated_environment
from pangu_alpha.errors import CompileError


def test_the_standin_answers_as_eight_devices() -> None:
    library = ctypes.CDLL(str(build_standin() / "cann" / "lib64" / "libascendcl.so"))
    count = ctypes.c_uint()
    assert library.aclrtGetDeviceCount(ctypes.byref(count)) == 0
    assert count.value == 8


def test_a_simulated_process_finds_the_standin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASCEND_HOME_PATH", raising=False)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/mine")
    environment = simulated_environment(rank=3, num_ranks=8, level=1, soc="Ascend910B1")
    assert environment["RANK_ID"] == "3" and environment["RANK_SIZE"] == "8"
    assert environment["MS_SIMULATION_LEVEL"] == "1" and environment["PANGU_ALPHA_SOC"] == "Ascend910B1"
    libraries, mine = environment["LD_LIBRARY_PATH"].split(":")
    assert mine == "/opt/mine" and (Path(libraries) / "libascendcl.so").exists()
    assert Path(environment["LD_PRELOAD"].split(":")[0]).exists()
    assert os.environ["LD_LIBRARY_PATH"] == "/opt/mine"


def test_an_installed_cann_is_used_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert real_cann({"ASCEND_HOME_PATH": str(tmp_path)}) is None  # a folder without the library is no CANN
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64" / "libascendcl.so").touch()
    monkeypatch.setenv("ASCEND_HOME_PATH", str(tmp_path))
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    environment = simulated_environment(0, 8, level=1)
    assert environment["ASCEND_HOME_PATH"] == str(tmp_path)
    assert "LD_PRELOAD" not in environment


@pytest.mark.parametrize(("tool", "package"), [("g++", "gcc-c\\+\\+"), ("nm", "binutils")])
def test_a_missing_tool_is_named_with_its_package(
    tool: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in {"g++", "nm"} - {tool}:
        (tmp_path / other).symlink_to(shutil.which(other) or "")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(CompileError, match=f"(?s){tool.replace('+', '.')} is not here.*{package}"):
        build_standin()


def test_a_build_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "g++").write_text("#!/bin/sh\necho no space left on device >&2\nexit 1\n")
    (tmp_path / "g++").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(CompileError, match=r"(?s)g\+\+ ended with code 1.*no space left"):
        build_standin()
    assert list((tmp_path / "cache" / "pangu_alpha" / "standin").iterdir()) == []


def test_a_damaged_standin_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standin, "_build_all", lambda home: (home / "library.so").write_bytes(b"library"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library = build_standin() / "library.so"
    os.truncate(library, 0)
    assert build_standin() == library.parent and library.read_bytes() == b"library"


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(CompileError, match=rf"cannot be written to {tmp_path}/file/.*Set XDG_CACHE_HOME"):
        build_standin()


def test_builders_at_the_same_time_agree_on_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    all_building = threading.Barrier(4)

    def build_slowly(home: Path) -> None:
        all_building.wait()
        (home / "cann").mkdir()

    monkeypatch.setattr(standin, "_build_all", build_slowly)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(build_standin())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1
    assert [path.name for path in found[0].parent.iterdir()] == [found[0].name]
    assert (found[0] / "cann").is_dir()
