"""Reads checkpoints of formats 1 and 2.

Whole tensors, in `weights.safetensors` and `optimizer.safetensors`; `index.json` has a SHA-256 of each file and, in
format 2, one of itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pangu_alpha.checkpoint.index import Index, cells_of, checksum_of, step_and_state
from pangu_alpha.checkpoint.slice_file import unreadable
from pangu_alpha.errors import DamagedError
from pangu_alpha.files import file_sha256

VERSIONS = (1, 2)


def index_of(folder: Path, fields: dict[str, Any]) -> Index:
    """What such an index says, as today's would say it. Its files are read and checked as a whole.

    Raises:
        DamagedError: the index or a file is missing or not what was written.
    """
    checksum = fields.pop("checksum", None)
    if checksum != checksum_of(fields) and (checksum is not None or fields["version"] > 1):
        raise DamagedError(f"{folder}/index.json is damaged: its checksum is not its own. Use another checkpoint")
    files, tensors = [], {}
    for number, (group, item) in enumerate(fields["files"].items()):
        path = folder / f"{group}.safetensors"
        _require_checksum(path, item["sha256"])
        files.append((path.name, None))
        for name, shape in item["tensors"].items():
            tensors[name] = cells_of(shape, shape, [number], number + 1)
    return Index(*step_and_state(fields), None, tuple(files), tensors, checksum or "")


def _require_checksum(path: Path, expected: str) -> None:
    try:
        found = file_sha256(path)
    except OSError as error:
        raise unreadable(path, error) from error
    if found != expected:
        raise DamagedError(f"{path} is damaged: its checksum is not that of index.json. Use another checkpoint")
