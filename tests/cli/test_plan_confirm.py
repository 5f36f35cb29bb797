"""The account against compiled programs; those of the recipe of `test_compile.py`, which are kept."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_compile import RECIPE

from pangu_alpha.cli import plan_confirm
from pangu_alpha.cli.main import main


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    return ["plan", str(path), "--hardware", "a100", "--explain", "dp=2", "--confirm"]


def test_every_stage_is_compiled_and_held_against_the_account(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    *_, first, last, end = capsys.readouterr().out.splitlines()
    for stage, line in ((0, first), (1, last)):
        cells = line.split()
        assert cells[0] == str(stage) and cells[6] == cells[7] and cells[8] == cells[9]
    assert end == "  operations, and bytes and number of each kind of collective, are equal"


def test_one_rank_has_another_program(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    alone = "dp=1,mp=1,pp=1,shard=false"
    assert main([alone if word == "dp=2" else word for word in words]) == 2
    assert "--confirm: this layout has one rank" in capsys.readouterr().err


def more_operations(right: Callable[..., Any], *words: Any) -> Any:
    return tuple(2 * flops for flops in right(*words))


def a_message_too_few(right: Callable[..., Any], *words: Any) -> Any:
    return list(right(*words))[1:]


def other_bytes(right: Callable[..., Any], *words: Any) -> Any:
    first, *others = right(*words)
    return [replace(first, num_bytes=first.num_bytes + 4), *others]


def more_memory(right: Callable[..., Any], *words: Any) -> Any:
    return tuple(replace(peak, bytes_by_part={"all": 1 << 30}) for peak in right(*words))


@pytest.mark.parametrize(
    ("name", "mistake", "message"),
    [
        ("step_flops", more_operations, "operations were planned, the program has"),
        ("all_messages", a_message_too_few, "4 messages of AllReduce over mp in the forward part were planned"),
        ("all_messages", other_bytes, "bytes of AllReduce over mp in the forward part were planned"),
        ("stage_peaks", more_memory, "1.00 GiB of memory were planned, MindSpore plans 0.00"),
    ],
)
def test_a_wrong_account_is_an_error(
    name: str,
    mistake: Callable[..., Any],
    message: str,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    right = getattr(plan_confirm, name)
    monkeypatch.setattr(plan_confirm, name, lambda *given: mistake(right, *given))
    assert main(words) == 1
    assert message in capsys.readouterr().err
