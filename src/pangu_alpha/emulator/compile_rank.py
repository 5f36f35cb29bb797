"""Compiles one rank's training program. Runs in a process of its own, whose environment makes it that rank.

`python -m pangu_alpha.emulator.compile_rank JOB.json`; see `compiling.py`, which starts it. The working directory gets

    program.mindir   the program of the train phase itself, without the parameters' data
    layout.json      name → MindSpore's row of it, see `layout.py`
    measured.json    what `Measured` of `compiling.py` holds
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any


def main(job: dict[str, Any]) -> None:
    """Compile the rank that the environment names; at simulation level 1 also plan its memory.

    Args:
        job: `config`, the settings of a run; `level`, of the simulation.
    """
    begin = time.monotonic()
    from pangu_alpha.config import RunConfig

    config = RunConfig.model_validate(job["config"])
    import mindspore as ms
    from mindspore.common.api import _cell_graph_executor
    from mindspore.communication import init

    ms.set_context(mode=ms.GRAPH_MODE, jit_config={"jit_level": "O0"})
    ms.set_device("Ascend")
    init()
    from pangu_alpha.training.distributed import example_inputs, rank_program

    cell, inputs = rank_program(config), example_inputs(config)
    compiling = time.monotonic()
    cell.compile(*inputs)
    # The compiled graph itself: `mindspore.export` would compile once more, under a phase of its own.
    program = _cell_graph_executor._get_func_graph_proto(cell, cell.current_phase, "mind_ir")
    Path("program.mindir").write_bytes(program)
    Path("layout.json").write_text(json.dumps(cell.parameter_layout_dict))
    planning = time.monotonic()
    device_memory = None
    if job["level"] == 1:
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


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    sys.stdout.flush()
    # Without this MindSpore takes seconds to take everything down, and sometimes crashes in it.
    os._exit(0)
