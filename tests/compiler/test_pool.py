"""The processes that compile: what happens when one of them, or the one that starts them, does not live."""

import os
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pangu_alpha.compiler.pool import Compilation, Compilers
from pangu_alpha.errors import CompileError
from pangu_alpha.verification.cases import quick_cases

CONFIG = quick_cases()[0].config("float32")


def start_stopped(compilers: Compilers, rank: int, folder: Path) -> Compilation:
    """One that stands still at once, and so does not end before what it is there for."""
    compilation = compilers.start(rank, folder)
    os.kill(compilation.process_id, signal.SIGSTOP)
    return compilation


def go_on(compilation: Compilation) -> None:
    """For one whose server is dead: it may have been stopped before it asked to die with it."""
    with suppress(ProcessLookupError):
        os.kill(compilation.process_id, signal.SIGCONT)


def wait_for(compilation: Compilation) -> None:
    deadline = time.monotonic() + 200
    while not compilation.ended():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for_death(process: int) -> None:
    deadline = time.monotonic() + 60
    while is_running(process):
        assert time.monotonic() < deadline, "it goes on without the one who wanted it"
        time.sleep(0.02)


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(autouse=True)
def logs(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("logs")))


def test_a_killed_compiler_most_likely_had_no_memory(tmp_path: Path) -> None:
    with Compilers(CONFIG, 0) as compilers:
        compilation = start_stopped(compilers, 0, tmp_path / "rank_0")
        os.kill(compilation.process_id, signal.SIGKILL)
        wait_for(compilation)
        with pytest.raises(CompileError, match="rank 0 was killed, most likely because the memory ran out"):
            compilation.keep("code")
    assert list(tmp_path.iterdir()) == []


def test_the_death_of_all_ends_the_wait(tmp_path: Path) -> None:
    with Compilers(CONFIG, 0) as compilers:
        compilation = start_stopped(compilers, 0, tmp_path / "rank_0")
        os.kill(compilers.server_id, signal.SIGKILL)
        go_on(compilation)
        wait_for(compilation)
        with pytest.raises(CompileError, match="rank 0 was killed"):
            compilation.keep("code")
        wait_for_death(compilation.process_id)
        with pytest.raises(CompileError, match="the compilers were killed, most likely because the memory ran out"):
            compilers.start(1, tmp_path / "rank_1")
    assert list(tmp_path.iterdir()) == []


def test_what_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    with Compilers(CONFIG, 0) as compilers:
        first, second = (start_stopped(compilers, rank, tmp_path / f"rank_{rank}") for rank in (0, 1))
        first.stop()
        assert not is_running(first.process_id) and is_running(second.process_id)
    go_on(second)
    wait_for_death(second.process_id)
    assert not list(tmp_path.glob("rank_*"))


def test_a_mindspore_that_does_not_load_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mindspore.py").write_text("raise ImportError('libmissing.so: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (
        Compilers(CONFIG, 0) as compilers,
        pytest.raises(CompileError, match="MindSpore cannot be loaded for compiling: its output is in") as error,
    ):
        compilers.start(0, tmp_path / "programs" / "rank_0")
    log = Path(str(error.value).rpartition(" ")[2])
    assert "libmissing.so" in log.read_text(encoding="utf-8")
    assert list((tmp_path / "programs").iterdir()) == []
