"""Records are strict JSON, and a torn line costs itself only."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from pangu_alpha.records import append_record, keep_records, last_records, read_records, to_json


def _refuse(name: str) -> float:
    raise AssertionError(f"{name} is not JSON")


def test_a_number_that_is_not_finite_is_null() -> None:
    text = to_json({"loss": math.nan, "norms": [1.0, math.inf], "deep": {"x": -math.inf}})
    assert json.loads(text, parse_constant=_refuse) == {
        "loss": None,
        "norms": [1.0, None],
        "deep": {"x": None},
    }


@pytest.mark.parametrize("damage", [b"\0" * 40, b'{"step": 2, "lo', b"[1]", b"\xff\xfe", b"[" * 5000])
def test_a_damaged_line_is_named_and_left_out(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + damage + b"\n" + b'{"step": 3}\n{"step": 4')
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


def test_the_last_records_are_those_of_all_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert last_records(path, 5) == []
    for number in (0, 3, 400):
        path.write_text("".join(f'{{"step": {step}, "text": "{"x" * 90}"}}\n' for step in range(number)) + '{"st')
        for count in (1, 5, 20):
            assert last_records(path, count) == read_records(path)[-count:]
    path.write_bytes(path.read_bytes().replace(b'{"step": 398', b'{"step" 398'))
    assert [record["step"] for record in last_records(path, 3)] == [396, 397, 399]
