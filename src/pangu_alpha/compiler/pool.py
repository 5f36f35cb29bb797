"""The processes that compile: a server that has MindSpore loaded, and forks of it, one a rank."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from pangu_alpha.compiler.server import RESULTS, CompileJob
from pangu_alpha.compiler.standin import Level, simulated_environment, soc_for
from pangu_alpha.config import RunConfig
from pangu_alpha.errors import CompileError
from pangu_alpha.files import aside_of, seal

_ALLOCATOR = "glibc.malloc.tcache_count=60000:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1000000000000"
"""The compiler makes and drops millions of small objects: kept instead of merged they cost a quarter less time. Neither
is memory given back to the system, to be cleared and fetched again."""
_LARGE_PAGES = ":glibc.malloc.hugetlb=1"
"""Save time where gigabytes are used, and cost it otherwise."""


class Compilers:
    """Compiles ranks of one recipe while the `with` statement lasts; see `server.py` for the other side."""

    def __init__(self, config: RunConfig, level: Level, with_validation: bool = False) -> None:
        """Build the stand-in if need be, and start loading MindSpore.

        Args:
            config: the recipe.
            level: of the simulation.
            with_validation: whether the forward-only programs are wanted too.

        Raises:
            CompileError: the stand-in for CANN cannot be built.
        """
        self._config, self._plans_memory, self._with_validation = config, level == 1, with_validation
        soc = soc_for(config.model.compute_dtype)
        # Each fork sets its own rank.
        environment = simulated_environment(0, config.parallel.num_devices, level, soc)
        environment.setdefault("GLIBC_TUNABLES", _ALLOCATOR + (_LARGE_PAGES if self._plans_memory else ""))
        self._folder = Path(tempfile.mkdtemp(prefix="pangu_compilers_"))
        environment |= {"GLOG_v": "3", "OMP_NUM_THREADS": "1"}
        self._orders, theirs = multiprocessing.Pipe()
        with (self._folder / "log.txt").open("wb") as log, theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "pangu_alpha.compiler.server", str(theirs.fileno())],
                cwd=self._folder,
                env=environment,
                pass_fds=[theirs.fileno()],
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C on the terminal does not reach it: it ends when the pipe is closed, and then takes all with it.
                start_new_session=True,
            )
        self.server_id = self._server.pid
        self._exit_codes: dict[int, int] = {}
        self._is_loaded = False

    def __enter__(self) -> Compilers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._orders.close()
        self._server.kill()  # it may still be loading
        self._server.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self, rank: int, folder: Path) -> Compilation:
        """Begin to compile `rank`, whose program will be kept in `folder`.

        Raises:
            CompileError: MindSpore cannot be loaded, or the folder cannot be written.
        """
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            aside = aside_of(folder)
            aside.mkdir()
        except OSError as error:
            raise CompileError(
                f"programs are kept in {folder.parent}, which cannot be written: {error}. Set XDG_CACHE_HOME to "
                "another folder"
            ) from error
        # MindSpore leaves dumps and folders of its own in its working directory.
        work = aside / "work"
        work.mkdir()
        log = aside / "log.txt"
        log.touch()
        try:
            self._orders.send(CompileJob(rank, self._config, self._plans_memory, self._with_validation, work, log))
            while isinstance(answer := self._orders.recv(), tuple):
                self._remember(*answer)
        except BaseException as error:
            shutil.rmtree(aside)
            if isinstance(error, (EOFError, OSError)):
                raise CompileError(self._death()) from error
            raise
        self._is_loaded = True
        self._exit_codes.pop(answer, None)  # of an earlier process with the same id
        return Compilation(self, rank, answer, folder, aside)

    def exit_code(self, process: int) -> int | None:
        """Of a process of this server; None while it runs, -9 when the server itself has been killed."""
        try:
            while self._orders.poll():
                self._remember(*self._orders.recv())
        except (EOFError, OSError):
            return self._exit_codes.get(process, -signal.SIGKILL)
        return self._exit_codes.get(process)

    def _remember(self, process: int, exit_code: int) -> None:
        self._exit_codes[process] = exit_code

    def _death(self) -> str:
        """Why there is no server any more."""
        if self._is_loaded:
            return "the compilers were killed, most likely because the memory ran out: lower --jobs"
        log = Path(tempfile.gettempdir()) / f"pangu_compilers_{self.server_id}.log"
        shutil.copy(self._folder / "log.txt", log)
        return f"MindSpore cannot be loaded for compiling: its output is in {log}"


class Compilation:
    """A rank being compiled, in a folder beside the one in which the result is kept."""

    def __init__(self, compilers: Compilers, rank: int, process_id: int, folder: Path, aside: Path) -> None:
        self.process_id = process_id
        self._compilers, self._rank = compilers, rank
        self._folder, self._aside = folder, aside
        self._exit_code: int | None = None

    def ended(self) -> bool:
        """Whether there is a result, or will never be one."""
        self._exit_code = self._compilers.exit_code(self.process_id)
        return self._exit_code is not None

    def stop(self) -> None:
        """Give it up."""
        while not self.ended():
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(self.process_id, signal.SIGKILL)
            time.sleep(0.01)
        shutil.rmtree(self._aside, ignore_errors=True)

    def keep(self, code: str) -> None:
        """Put the result in its place, as that of the code version `code`.

        Raises:
            CompileError: there is none.
        """
        if self._exit_code:
            log = Path(tempfile.gettempdir()) / f"pangu_compile_rank_{self._rank}_{self.process_id}.log"
            shutil.move(self._aside / "log.txt", log)
            shutil.rmtree(self._aside, ignore_errors=True)
            raise CompileError(_failure(self._rank, self._exit_code, log))
        for name in RESULTS:
            if (self._aside / "work" / name).exists():
                (self._aside / "work" / name).rename(self._aside / name)
        shutil.rmtree(self._aside / "work")
        seal(self._aside, code)
        shutil.rmtree(self._folder, ignore_errors=True)
        try:
            self._aside.rename(self._folder)
        except OSError:  # another process was first with the same program
            shutil.rmtree(self._aside, ignore_errors=True)


def _failure(rank: int, code: int, log: Path) -> str:
    if code == -9:
        return (
            f"the compiler of rank {rank} was killed, most likely because the memory ran out: lower --jobs. "
            f"Its output is in {log}"
        )
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    # The first error that a pass of the compiler logged says the reason; the exception only who gave up. After its
    # message come paragraphs under dashed titles about where it was in C++.
    logged = [line.rpartition("] ")[2] for line in lines if line.startswith("[ERROR]") and "ME(" not in line]
    raised = [number for number, line in enumerate(lines) if _is_exception(line)]
    words = [*logged[:1], *(lines[raised[-1] :] if raised else lines[-4:])]
    end = next((number for number, line in enumerate(words) if line.startswith("---")), len(words))
    message = "\n  ".join(words[: min(end, 6)])
    return f"MindSpore does not compile rank {rank}:\n  {message}\nall of its output is in {log}"


def _is_exception(line: str) -> bool:
    name = line.partition(":")[0].rpartition(".")[2]
    return name.isidentifier() and name.endswith(("Error", "Exception"))
