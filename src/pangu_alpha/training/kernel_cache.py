"""The folder in which MindSpore keeps the kernels that its fusing compiler has made for a CPU.

MindSpore ends with a traceback of its own where it cannot write there, or finds a file that a killed process or a full
disk has left empty or torn.
"""

from __future__ import annotations

import json
import struct
import tempfile
import time
from pathlib import Path

from pangu_alpha.console import say

_KERNELS = "akg_kernel_meta"
"""MindSpore's name for the folder of the kernels."""
_YOUNG = 30.0
"""Seconds in which another process may still be writing a file."""


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
    damaged = {path.stem for path in folder.iterdir() if not _is_whole(path)}
    for name in damaged:
        say(f"the fused kernel {name} in {folder} is damaged: it is made again")
        for path in folder.glob(f"{name}.*"):
            path.unlink(missing_ok=True)


def _is_whole(path: Path) -> bool:
    if time.time() - path.stat().st_mtime < _YOUNG:
        return True
    content = path.read_bytes()
    if path.suffix in (".so", ".o"):
        return _is_whole_object(content)
    if path.suffix in (".json", ".info"):
        return _is_json(content)
    return True


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


def _is_whole_object(content: bytes) -> bool:
    """Whether an ELF file of 64 bits holds its table of sections, which is at its end."""
    if len(content) < 64 or content[:4] != b"\x7fELF":
        return False
    (table,) = struct.unpack_from("<Q", content, 0x28)
    size, count = struct.unpack_from("<HH", content, 0x3A)
    return bool(table + size * count <= len(content))
