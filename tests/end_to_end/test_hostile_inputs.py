"""Every verb, given what no verb can use in the place of each of its files: a sentence that names it, no traceback."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pangu_alpha.cli.main import main

if TYPE_CHECKING:
    from tests.conftest import TinyProject

ROOT = Path(__file__).parents[2]
RACKS = "racks: {rack0: '10.0.0.[1-2]'}\ndevice_ip: 192.168.{100 + device % 4}.{1 + server * 2 + device // 4}\n"
# X stands for the hostile thing, NEW for a place that is free.
READERS = """
config show X
config show recipe.yaml --yaml tokenizer=X
show mesh X
show mesh recipe.yaml --output X.svg
tokenizer train --input X.jsonl --output NEW --vocab-size 300
tokenizer train --input text.jsonl --output X --vocab-size 470
tokenizer encode --tokenizer X 话说
tokenizer decode --tokenizer X 3
tokenizer inspect --tokenizer X
tokenizer inspect --tokenizer tokenizer --input X.jsonl
data split --input X.jsonl --output NEW
data split --input text.jsonl --output X --piece-length 100
data pack --input X.jsonl --tokenizer tokenizer --output NEW/train
data pack --input text.jsonl --tokenizer X --output NEW/train
data pack --input text.jsonl --tokenizer tokenizer --output X
data inspect X
data inspect tokens/train --tokenizer X --sample 0
compile X
train X
train recipe.yaml tokenizer=X
train recipe.yaml data.train=[{path:X}]
train recipe.yaml data.validation=[{path:X}]
train recipe.yaml output=X data.train=[{path:X}]
generate --checkpoint X --prompt 却说
generate --checkpoint nowhere --input X
checkpoint list X
checkpoint show X
checkpoint check X
checkpoint diff X X
checkpoint convert X NEW
evaluate perplexity --checkpoint X --input text.jsonl
evaluate perplexity --checkpoint nowhere --input X
evaluate ngrams --train X.jsonl --input text.jsonl
evaluate ngrams --train text.jsonl --input X.jsonl
evaluate ngrams --train text.jsonl --input text.jsonl --json X
doctor X
doctor recipe.yaml tokenizer=X
doctor recipe.yaml data.train=[{path:X}]
doctor recipe.yaml output=X
doctor recipe.yaml --rank-table X
doctor recipe.yaml --hosts X
ranktable make --from X --output NEW.json
ranktable make --from X.yaml --output NEW.json
ranktable make --from X.json --output NEW.json
ranktable make --from hostile_inventory.yaml --output X
ranktable make --from hostile_inventory.yaml --racks X --output NEW.json
ranktable make --from host --hccn-conf X --output NEW.json
ranktable make --from hostile_inventory.yaml --config X --output NEW.json
ranktable check X
ranktable check hostile_table.json --hosts X
ranktable merge X --output NEW.json
ranktable show X
ranktable show hostile_table.json --racks X
status X
diagnose X
launch msrun --workers 1 --dry-run X
launch msrun --workers 2 --dry-run recipe.yaml --hosts X
launch rank-table --dry-run recipe.yaml X
launch rank-table --dry-run recipe.yaml hostile_table.json parallel.dp=16 train.batch_size=16 --hosts X
quickstart --text X --output NEW
"""
LINES = [line for line in READERS.splitlines() if line]


def _forbidden(path: Path) -> None:
    path.write_text("{}")
    path.chmod(0)


def _forbidden_folder(path: Path) -> None:
    path.mkdir()
    path.chmod(0)


HOSTILE: dict[str, Callable[[Path], object]] = {
    "folder": Path.mkdir,
    "empty": Path.touch,
    "binary": lambda path: path.write_bytes(bytes(range(256)) * 8),
    "forbidden": _forbidden,
    "forbidden folder": _forbidden_folder,
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "pipe": os.mkfifo,
    "nested": lambda path: path.write_text("[" * 100_000),
    "long number": lambda path: path.write_text(f'{{"version": {"5" * 5000}}}'),
    "in a forbidden folder": lambda path: path.parent.chmod(0),
    "too long": lambda path: None,
}


@contextmanager
def without_root_rights() -> Iterator[None]:
    """For root every file is readable, until it gives up two of its capabilities."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, before = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, before) == 0
    changed = (ctypes.c_uint32 * 6)(*before)
    changed[0] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, changed) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0


@pytest.fixture(scope="module")
def folder(tiny_project: TinyProject) -> Path:
    """The tiny project with an inventory and its table."""
    inventory, table = (tiny_project.folder / name for name in ("hostile_inventory.yaml", "hostile_table.json"))
    inventory.write_text(RACKS)
    assert main(["ranktable", "make", "--from", str(inventory), "--output", str(table)]) == 0
    return tiny_project.folder


def _run(line: str, thing: str, new: str) -> int:
    words = [word.replace("X", thing).replace("NEW", new).replace("path:", "path: ") for word in line.split()]
    try:
        return main(words)
    except SystemExit as leaving:
        return int(leaving.code or 0)


@pytest.mark.parametrize("line", LINES)
def test_what_cannot_be_used_is_named(
    line: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for number, (kind, make) in enumerate(HOSTILE.items()):
        place = tmp_path / str(number)
        place.mkdir()
        thing = str(place / ("x" * 5000 if kind == "too long" else "thing"))
        for ending in ("", ".yaml", ".json", ".svg", ".jsonl"):
            if kind != "in a forbidden folder" or not ending:
                make(Path(thing + ending))
        with without_root_rights():
            code = _run(line, thing, str(tmp_path / f"new_{number}"))
        place.chmod(0o755)
        out, err = capsys.readouterr()
        assert code in (0, 1, 2), f"{kind}: {err}"
        # An empty text is found out where texts of many files are counted together.
        assert code == 0 or kind == "empty" or str(place) in out + err, f"{kind}: {err}"
