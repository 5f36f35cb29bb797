"""The folder in which MindSpore keeps the kernels that its fusing compiler has made for a CPU.

MindSpore ends with a traceback of its own where it cannot write there, or finds a file that a killed process or a full
disk has left empty or torn.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from pangu_alpha.console import say
from pangu_alpha.files import file_sha256
from pangu_alpha.reading import read_json

_KERNELS = "akg_kernel_meta"
"""MindSpore's name for the folder of the kernels."""
_WRITING = 0.5
"""Seconds that another process needs at most to fill a description that it has just opened."""


def prepare_kernel_cache(cache: Path) -> bool:
    """Whether kernels can be kept in `cache`; removes those that are damaged, so that they are made again."""
    try:
        folder = cache / _KERNELS
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        _remove_damaged(folder)
    except OSError as error:
        say(
            f"{cache} cannot be used for fused kernels ({error.strerror}): operators are not fused, which is slower. "
            "Make it writable, or name another folder with XDG_CACHE_HOME"
        )
        return False
    return True


def _remove_damaged(folder: Path) -> None:
    damaged = _damaged(folder)
    if damaged:
        time.sleep(_WRITING)
        damaged &= _damaged(folder)
    for name in damaged:
        say(f"the fused kernel {name} in {folder} is damaged: it is made again")
        for path in folder.glob(f"{name}.*"):
            path.unlink(missing_ok=True)


def _damaged(folder: Path) -> set[str]:
    """Names of the kernels that are not what their description says; it is written last, so one without is not read."""
    return {path.stem for path in folder.glob("*.json") if not _is_whole(path)}


def _is_whole(path: Path) -> bool:
    try:
        description = read_json(path)
        read_json(path.with_suffix(".info"))
        return bool(
            description["sha256"] == file_sha256(path.with_suffix(".so"))
            and description["objSha256"] == file_sha256(path.with_suffix(".o"))
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False
