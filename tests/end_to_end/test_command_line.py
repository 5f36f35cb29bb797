"""What every verb of `pangu` owes its user."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pangu_alpha.cli.main import VERBS, main

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import TinyProject

WITHOUT_MINDSPORE = [
    ["--help"],
    *([verb, "--help"] for verb in VERBS),
    ["config", "list"],
    ["config", "show", "200b_2048"],
]


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([verb, "--help"])
    assert exit_.value.code == 0
    _, found, examples = capsys.readouterr().out.partition("example")
    assert found and f"pangu {verb} " in examples


@pytest.mark.parametrize("words", WITHOUT_MINDSPORE, ids=" ".join)
def test_starts_at_once(words: list[str], tiny_project: TinyProject) -> None:
    # Processor time, and beside that of loading the two libraries that every recipe needs, in turn: neither other work
    # on this machine nor a slower one must fail the test. Four times as much was measured at most, beside other work;
    # MindSpore takes twenty-five times.
    libraries = [sys.executable, "-c", "import pydantic, yaml"]
    turns = [
        (_processor_seconds(lambda: tiny_project.pangu(*words)), _processor_seconds(lambda: _run(libraries)))
        for _ in range(5)
    ]
    assert min(pangu for pangu, _ in turns) < 6 * min(needed for _, needed in turns), turns


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _processor_seconds(run: Callable[[], subprocess.CompletedProcess[str]]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run().returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@pytest.mark.parametrize(
    "words",
    [
        *WITHOUT_MINDSPORE,
        ["data", "inspect", "tokens/train"],
        ["tokenizer", "encode", "--tokenizer", "tokenizer", "话说天下大势"],
        ["evaluate", "ngrams", "--train", "text.jsonl", "--input", "text.jsonl"],
    ],
    ids=" ".join,
)
def test_does_not_load_mindspore(words: list[str], tiny_project: TinyProject) -> None:
    program = (
        "import sys\nfrom pangu_alpha.cli.main import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit:\n    pass\n"
        "assert 'mindspore' not in sys.modules, 'mindspore was imported'"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, cwd=tiny_project.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_output_goes_to_stdout_and_the_rest_to_stderr(tiny_project: TinyProject) -> None:
    encoded = tiny_project.pangu("tokenizer", "encode", "--tokenizer", "tokenizer", "分久必合")
    assert encoded.returncode == 0
    assert all(word.isdigit() for word in encoded.stdout.split())
    decoded = tiny_project.pangu("tokenizer", "decode", "--tokenizer", "tokenizer", *encoded.stdout.split())
    assert decoded.stdout == "分久必合"


def test_unknown_verb_exits_with_2(tiny_project: TinyProject) -> None:
    done = tiny_project.pangu("trian")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
