"""Giving MindSpore its device, and saying what is missing when it cannot have it."""

from __future__ import annotations

import atexit
import ctypes
import os
import tempfile
from pathlib import Path

from pangu_alpha.config import DeviceKind
from pangu_alpha.errors import DeviceError
from pangu_alpha.files import cache_folder
from pangu_alpha.runtime.kernel_cache import prepare_kernel_cache

_HELP = {
    "ascend": "Install the Ascend driver and the CANN toolkit that MindSpore 2.10 asks for, then source CANN's "
    "set_env.sh (it puts the libraries on LD_LIBRARY_PATH); `npu-smi info` must list the devices",
    "gpu": "Install the NVIDIA driver, CUDA 11.6 and cuDNN 8, and put their libraries on LD_LIBRARY_PATH; `nvidia-smi` "
    "must list the devices. MindSpore has tested no newer CUDA",
}
_INEXACT = ("Exp", "Log", "Pow", "Rsqrt", "Sqrt", "Tanh")
"""Operators left out of fusion: the fused forms are off in the fifth digit."""
_NOT_WHERE_STEPS_ARE_SKIPPED = ("Cast", "Select", "LessEqual", "LogicalAnd")
"""Operators left out of fusion in float16, and where spikes are skipped: the fusing compiler ends with a traceback at
casts to and from float16, and at the choice between an update and none."""
_PLUGIN = {"ascend": "libmindspore_ascend.so.2", "gpu": "libmindspore_gpu.so.11.6"}


def prepare_environment(verbose: bool) -> None:
    """Set what MindSpore reads from the environment. Call it before MindSpore is imported; what is set already stays.

    Args:
        verbose: let MindSpore print its warnings.
    """
    defaults = {
        "GLOG_v": "2" if verbose else "3",
        # Where the compiler leaves its dumps when it fails; otherwise a folder rank_0 in the working directory.
        "MS_OM_PATH": tempfile.gettempdir(),
        # Fused kernels are kept here; otherwise in the working directory.
        "MS_COMPILER_CACHE_PATH": str(cache_folder()),
        # The fused kernels' idle threads would keep the cores from MindSpore's own.
        "OMP_WAIT_POLICY": "passive",
        # MindSpore sets "python", which takes a hundred times as long to read a program.
        "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "upb",
        # The fusing compiler looks for its table of tilings below this folder, and complains about any other.
        "AKG_WHITE_LIST_PATH": "/",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    log = Path("dsa_transfrom.log").resolve()  # the fusing compiler writes it into the working directory
    if not log.exists():
        atexit.register(log.unlink, missing_ok=True)


def set_device(device: DeviceKind, fuse_operators: bool = False, may_skip: bool = False) -> None:
    """Make MindSpore compile whole graphs for `device`.

    Args:
        device: where to run.
        fuse_operators: on a CPU, join elementwise operators into kernels of their own (see `RunConfig`).
        may_skip: whether it computes in float16, or steps may change nothing (see `training/scalars.py`). Fewer
            operators can be joined then.

    Raises:
        DeviceError: MindSpore cannot use it here; the message names the missing library.
    """
    import mindspore as ms

    if device == "ascend" and (table := os.environ.get("RANK_TABLE_FILE")):
        raise DeviceError(
            f"RANK_TABLE_FILE={table}: MindSpore would compile for another backend (jit level O2) than what "
            "`pangu compile` and `pangu rehearse` show. Unset it, and start with `pangu launch rank-table RECIPE TABLE`"
        )
    name = {"cpu": "CPU", "ascend": "Ascend", "gpu": "GPU"}[device]
    if not ms.hal.is_available(name):
        raise DeviceError(
            f"device {device!r} cannot be used here: {_missing_library(device, Path(ms.__file__).parent)}.\n"
            f"{_HELP[device]}.\n"
            "To run on this machine's processor instead, set device=cpu"
        )
    ms.set_context(mode=ms.GRAPH_MODE)
    if device == "ascend":
        # Operator by operator, which is what `pangu compile` plans, and what an update in place was verified with.
        ms.set_context(jit_config={"jit_level": "O0"})
    ms.set_device(name)
    cache = Path(os.environ.get("MS_COMPILER_CACHE_PATH", cache_folder()))
    if device == "cpu" and fuse_operators and prepare_kernel_cache(cache):
        left_out = ",".join(_INEXACT + _NOT_WHERE_STEPS_ARE_SKIPPED * may_skip)
        ms.set_context(enable_graph_kernel=True, graph_kernel_flags=f"--disable_cluster_ops={left_out}")
    else:
        # An earlier network of this process may have asked for it.
        ms.set_context(enable_graph_kernel=False)


def join_workers(device: DeviceKind, num_workers: int) -> int:
    """Connect with the other processes of the job, `num_workers` with this one, and return this one's rank, from 0."""
    if num_workers == 1:
        return 0
    from mindspore.communication import get_rank, init

    init("hccl" if device == "ascend" else "mccl" if device == "cpu" else "nccl")
    return int(get_rank())


def _missing_library(device: DeviceKind, mindspore: Path) -> str:
    plugin = mindspore / "lib" / "plugin" / _PLUGIN[device]
    try:
        ctypes.CDLL(str(plugin))
    except OSError as error:
        return f"MindSpore's plugin {plugin.name} does not load: {error}"
    return f"MindSpore's plugin {plugin.name} loads, but finds no device"
