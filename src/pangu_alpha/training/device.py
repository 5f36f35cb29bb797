"""Giving MindSpore its device, and saying what is missing when it cannot have it."""

from __future__ import annotations

import ctypes
import os
import tempfile
from pathlib import Path

from pangu_alpha.config import Device
from pangu_alpha.errors import ConfigError, DeviceError

_HELP = {
    "ascend": "Install the Ascend driver and the CANN toolkit that MindSpore 2.10 asks for, then source CANN's "
    "set_env.sh (it puts the libraries on LD_LIBRARY_PATH); `npu-smi info` must list the devices",
    "gpu": "Install the NVIDIA driver, CUDA 11.6 and cuDNN 8, and put their libraries on LD_LIBRARY_PATH; `nvidia-smi` "
    "must list the devices. MindSpore has tested no newer CUDA",
}
_PLUGIN = {"ascend": "libmindspore_ascend.so.2", "gpu": "libmindspore_gpu.so.11.6"}


def quiet_mindspore(verbose: bool) -> None:
    """Keep MindSpore's warnings off the terminal unless `verbose`. Call it before MindSpore is imported."""
    os.environ.setdefault("GLOG_v", "2" if verbose else "3")
    # Where the compiler leaves its dumps when it fails; otherwise a folder rank_0 in the working directory.
    os.environ.setdefault("MS_OM_PATH", tempfile.gettempdir())


def set_device(device: Device) -> None:
    """Make MindSpore compile whole graphs for `device`.

    Raises:
        DeviceError: MindSpore cannot use it here; the message names the missing library.
    """
    import mindspore as ms

    if device != "cpu" and not ms.hal.is_available(device.capitalize() if device == "ascend" else "GPU"):
        raise DeviceError(
            f"device {device!r} cannot be used here: {_missing_library(device, Path(ms.__file__).parent)}.\n{_HELP[device]}.\n"
            "To run on this machine's processor instead, set device=cpu"
        )
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device({"cpu": "CPU", "ascend": "Ascend", "gpu": "GPU"}[device])


def join_workers(device: Device, num_devices: int) -> int:
    """Connect with the other processes of the job and return this one's rank, from 0.

    Raises:
        ConfigError: the number of processes is not what the settings' mesh needs.
    """
    num_workers = int(os.environ.get("MS_WORKER_NUM") or os.environ.get("RANK_SIZE") or 1)
    if num_workers != num_devices:
        raise ConfigError(
            f"parallel.dp × parallel.mp × parallel.pp = {num_devices}, but this job has {num_workers} process(es): "
            f"start it with launch/train_msrun.sh --workers {num_devices}, or set parallel.dp={num_workers}"
        )
    if num_workers == 1:
        return 0
    from mindspore.communication import get_rank, init

    init("hccl" if device == "ascend" else "mccl" if device == "cpu" else "nccl")
    return int(get_rank())


def _missing_library(device: Device, mindspore: Path) -> str:
    plugin = mindspore / "lib" / "plugin" / _PLUGIN[device]
    try:
        ctypes.CDLL(str(plugin))
    except OSError as error:
        return f"MindSpore's plugin {plugin.name} does not load: {error}"
    return f"MindSpore's plugin {plugin.name} loads, but finds no device"
