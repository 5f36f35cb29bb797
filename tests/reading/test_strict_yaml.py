"""What YAML says in silence, and what it can cost, is refused with its line."""

from __future__ import annotations

import time

import pytest

from pangu_alpha.reading.strict_yaml import parse_yaml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {steps: 600}\nmodel: {}\ntrain: {steps: 5}", "'train' is there twice, in line 1 and in line 3"),
        ("{a: 1, 'a': 2}", "'a' is there twice, in line 1 and in line 1"),
        ("- {x: 1}\n- y: 1\n  y: 2", "'y' is there twice, in line 2 and in line 3"),
        ("a: 010", "line 1: 010 is another number"),
        ("a: 0x1F", "0x1F is another number"),
        ("a:\n  1:30", "line 2: 1:30 is another number"),
        ("1:30.5", "1:30.5 is another number"),
        (f"a: {'5' * 5000}", "has 5,000 digits"),
        ("a: !!int abc", "the tag !!int is not used"),
        ("!!timestamp 2024-13-45", "the tag !!timestamp"),
        ("!!python/object/apply:os.system [ls]", "is not used here"),
        ("[" * 100_000, "nested more than 100 deep"),
        ("- x\n" * 400_000, "more than 300,000 values"),
        ("&a [*a]", "the anchor holds itself"),
        ("{[1]: 2}", "where a key belongs"),
        ("a: [", "line 2, column 1"),
        ("a: b: c", "line 1, column 5: mapping values are not allowed"),
        ("--- 1\n--- 2", "another document"),
        ('a: "x\\0"', "the character 0"),
        ("\x07", "unacceptable character"),
        ("\udcff", "surrogates not allowed"),
    ],
)
def test_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_yaml(text)
    assert message in str(error.value)


def test_few_lines_that_mean_billions_are_refused() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
    ]
    with pytest.raises(ValueError, match="with its aliases it means more than"):
        parse_yaml("\n".join(lines))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("a: 1_000", {"a": 1000}),
        ("[0, -5, +5, 0.5, 1.0e-3, .inf]", [0, -5, 5, 0.5, 0.001, float("inf")]),
        ("[2024-01-01, 2024-13-45, '010', =]", ["2024-01-01", "2024-13-45", "010", "="]),
        ("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}", {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}),
        ("路径: 三国", {"路径": "三国"}),
    ],
)
def test_is_read(text: str, value: object) -> None:
    assert parse_yaml(text) == value


def test_a_large_comment_takes_no_time() -> None:
    start = time.process_time()
    assert parse_yaml(f"#{'x' * 7_000_000}\na: 1") == {"a": 1}
    assert time.process_time() - start < 2  # 0.2 s; the library's slow loader takes 7 s
