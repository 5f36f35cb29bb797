"""Compiles ranks' training programs, each in a process of its own, whose environment makes it that rank.

`python -m pangu_alpha.compiler.server FD`, started by `pool.py`, gets its jobs through the open file FD.
It loads MindSpore once and forks for each job: loading takes as long as compiling a small program. The working
directory of a job gets

    program.mindir      the program of the train phase itself, without the parameters' data
    validation.mindir   the forward-only program on the same parameters, where it is wanted
    layout.json         name → MindSpore's row of it, see `parallel/layout_rows.py`
    measured.json       what `Measured` of `programs.py` holds
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from mindspore.nn import Cell

    from pangu_alpha.config import RunConfig

POLL_SECONDS = 0.02
RESULTS = ("program.mindir", "validation.mindir", "layout.json", "measured.json")
"""Names of the files above."""
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class CompileJob:
    """A rank to compile."""

    rank: int
    config: RunConfig
    plans_memory: bool
    """Whether the simulation's level is 1."""
    with_validation: bool
    """Whether its forward-only program is wanted too."""
    folder: Path
    """The working directory."""
    log: Path
    """Takes the process's output."""


def serve(orders: Connection) -> None:
    """Fork a process for each `CompileJob` that arrives, and send back its id at once and (id, exit code) when it ends.

    Returns when the other side is gone; what still compiles then is killed, and its folder removed.
    """
    import mindspore  # noqa: F401 - for the processes to come

    import pangu_alpha.training.distributed  # noqa: F401

    server = os.getpid()
    running: dict[int, CompileJob] = {}
    with suppress(EOFError, ConnectionError):  # the other side is gone
        while True:
            if orders.poll(POLL_SECONDS):
                job = orders.recv()
                process = os.fork()
                if process == 0:
                    orders.close()
                    _become(job, server)
                running[process] = job
                orders.send(process)
            while running:
                process, status = os.waitpid(-1, os.WNOHANG)
                if process == 0:
                    break
                del running[process]
                orders.send((process, os.waitstatus_to_exitcode(status)))
    for process, job in running.items():
        os.kill(process, signal.SIGKILL)
        shutil.rmtree(job.log.parent, ignore_errors=True)


def _become(job: CompileJob, server: int) -> NoReturn:
    """Turn this fork of `server` into the process of `job`, and end it."""
    exit_code = 1
    try:
        # A server that is killed, for memory say, leaves no compilers behind.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == server:
            log = os.open(job.log, os.O_WRONLY)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.environ |= {"RANK_ID": str(job.rank), "MS_OM_PATH": str(job.folder)}
            os.chdir(job.folder)
            compile_rank(job)
            exit_code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        # Not sys.exit: MindSpore takes seconds to take everything down, and sometimes crashes in it.
        os._exit(exit_code)


def compile_rank(job: CompileJob) -> None:
    """Compile the rank that the environment names; at simulation level 1 also plan its memory."""
    begin = time.monotonic()
    config = job.config
    import mindspore as ms
    from mindspore.communication import init

    ms.set_context(mode=ms.GRAPH_MODE, jit_config={"jit_level": "O0"})
    ms.set_device("Ascend")
    init()
    from pangu_alpha.training.distributed import example_inputs, rank_programs

    programs, inputs = rank_programs(config), example_inputs(config)
    cell = programs.step
    compiling = time.monotonic()
    cell.compile(*inputs)
    _export(cell, "program.mindir")
    Path("layout.json").write_text(json.dumps(cell.parameter_layout_dict))
    planning = time.monotonic()
    device_memory = None
    if job.plans_memory:
        cell(*inputs)
        device_memory = int(ms.runtime.max_memory_allocated())
    measured = {
        "build_seconds": compiling - begin,
        "compile_seconds": planning - compiling,
        "plan_seconds": time.monotonic() - planning,
        "host_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "device_memory": device_memory,
    }
    Path("measured.json").write_text(json.dumps(measured))
    if job.with_validation:
        with programs.validating() as validation:
            validation.compile(*inputs)
            _export(validation, "validation.mindir")


def _export(cell: Cell, name: str) -> None:
    """Write down the compiled graph itself: `mindspore.export` would compile once more, under a phase of its own."""
    from mindspore.common.api import _cell_graph_executor

    Path(name).write_bytes(_cell_graph_executor._get_func_graph_proto(cell, cell.current_phase, "mind_ir"))


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
    os._exit(0)
