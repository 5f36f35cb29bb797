"""Records are strict JSON, and a torn line costs itself only."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from pangu_alpha.records import append_record, keep_records, read_records, to_json


def _refuse(name: str) -> float:
    raise AssertionError(f"{name} is not JSON")


def test_a_number_that_is_not_finite_is_null() -> None:
    text = to_json({"loss": math.nan, "norms": [1.0, math.inf], "deep": {"x": -math.inf}})
    assert json.loads(text, parse_constant=_refuse) == {
        "loss": None,
        "norms": [1.0, None],
        "deep": {"x": None},
    }


@pytest.mark.parametrize("damage", [b"\0" * 40 + b"\n", b'{"step": 2, "lo\n', b"[1]\n", b"\xff\xfe\n"])
def test_a_damaged_line_is_named_and_left_out(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + damage + b'{"step": 3}\n{"step": 4')
    said: list[str] = []
    assert read_records(path, said.append) == [{"step": 1}, {"step": 3}]
    assert said == [f"{path}: 1 line(s) are damaged and left out: 2"]
    keep_records(path, lambda record: True, said.append)
    assert path.read_text() == '{"step": 1}\n{"step": 3}\n'


def test_a_line_after_a_torn_one_stays_readable(tmp_path: Path) -> None:
    path = tmp_path / "validation.jsonl"
    path.write_bytes(b'{"step": 1}\n{"st')
    append_record(path, {"step": 2})
    append_record(path, {"step": 3})
    assert read_records(path) == [{"step": 1}, {"step": 2}, {"step": 3}]


def test_no_file_has_no_records(tmp_path: Path) -> None:
    assert read_records(tmp_path / "none.jsonl") == []
    keep_records(tmp_path / "none.jsonl", lambda record: True, print)
    assert not (tmp_path / "none.jsonl").exists()
