"""JSON files that say two things, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from pangu_alpha.reading import parse_json, read_json


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        ('{"a": 1', "Expecting ',' delimiter"),
        ('{"a": 1, "b": 2, "a": 3}', "'a' is there twice in the entry with a=1, b=2, a=3"),
        ('{"x": {"a": [], "a": []}}', "'a' is there twice in the entry with no other values"),
        (f'{{"a": -{"7" * 5000}}}', "has 5,000 digits"),
        ("[" * 100_000, "nested too deeply"),
        ("\0\0\0", "Expecting value"),
    ],
)
def test_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_json(text)
    assert message in str(error.value)


def test_a_file_of_another_encoding_or_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes('{"名": 1}'.encode("gb18030"))
    with pytest.raises(ValueError, match=r"not UTF-8 text: byte 0x.. at offset 2"):
        read_json(path)
    path.write_bytes('{"名": 1}'.encode("utf-8-sig"))
    assert read_json(path) == {"名": 1}
