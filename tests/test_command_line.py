"""Whatever goes wrong outside of this project ends in a sentence and an exit code; words may stand in any order."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import user_environment

from pangu_alpha.command_line import EXTRAS, Parser, run_program
from pangu_alpha.errors import DataError

PANGU = f"{sys.executable} -m pangu_alpha.cli.main"


def shell(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """What bash makes of `script`, in which `pangu` is this checkout's."""
    words = ["bash", "-c", f'pangu() {{ {PANGU} "$@"; }}; {script}']
    environment = {name: value for name, value in user_environment().items() if name != "PYTHONUNBUFFERED"} | variables
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, timeout=280, check=False)
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr, done.stderr.decode()
    return done


@pytest.mark.parametrize(
    ("error", "exit_code", "sentence"),
    [
        (DataError("no text. Give more"), 2, "test: no text. Give more\n"),
        (PermissionError(13, "Permission denied", "run/x"), 2, "run/x: Permission denied; give this user the right"),
        (OSError(28, "No space left on device", "run/x"), 1, "run/x: No space left on device; free some space"),
        (OSError(36, "File name too long", "x" * 5000), 2, "… (5,000 characters): File name too long; choose"),
        (FileExistsError(17, "File exists", "a", None, "b"), 2, "a: b: File exists"),
        (OSError(116, "Stale file handle", "nfs/x"), 1, "nfs/x: Stale file handle\n"),
        (OSError("odd"), 1, "test: odd\n"),
        (BrokenPipeError(32, "Broken pipe"), 1, "a process that this one talks to has ended"),
        (UnicodeEncodeError("gbk", "✓", 0, 1, "illegal"), 2, "set LC_ALL=C.UTF-8"),
        (MemoryError("Unable to allocate 1 EiB"), 1, "not enough memory (Unable to allocate 1 EiB): ask for less"),
        (KeyboardInterrupt(), 130, "test: stopped by Ctrl-C"),
    ],
)
def test_every_error_is_a_sentence(
    error: BaseException, exit_code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> int:
        raise error

    assert run_program("test", work) == exit_code
    assert sentence in capsys.readouterr().err


def test_an_error_of_this_program_stays_a_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_program("test", lambda: 1 // 0)


@pytest.mark.parametrize("words", ["config list", "--help", "config show --help"])
def test_output_that_cannot_be_written(words: str, tmp_path: Path) -> None:
    full = shell(f"pangu {words} > /dev/full", tmp_path)
    assert full.returncode == 1
    assert full.stderr.decode() == "pangu: stdout: No space left on device; free some space, or write elsewhere\n"
    assert shell(f"pangu {words} >&-", tmp_path).returncode == 0
    assert shell(f"set -o pipefail; pangu {words} | true", tmp_path).returncode == 0


def test_nobody_to_complain_to(tmp_path: Path) -> None:
    assert shell("pangu config show nowhere 2> /dev/full", tmp_path).returncode == 2
    assert shell("pangu config show nowhere 2>&-", tmp_path).returncode == 2


@pytest.mark.parametrize("encoding", ["gbk", "ascii", "latin-1"])
def test_a_terminal_that_lacks_characters(encoding: str, tmp_path: Path) -> None:
    shown = shell("pangu doctor tiny_cpu", tmp_path, PYTHONIOENCODING=f"{encoding}:strict")
    assert shown.returncode == 1 and b"\\u2713 Python" in shown.stdout
    name = shell("pangu status $'run\\xff'", tmp_path, PYTHONIOENCODING=f"{encoding}:strict")
    assert name.returncode == 2 and b"run\\udcff has no heartbeats" in name.stderr
    # What a program reads back is UTF-8 everywhere.
    recipe = shell("pangu config show tiny_cpu output=三国✓ --yaml", tmp_path, PYTHONIOENCODING=encoding)
    assert "output: 三国✓" in recipe.stdout.decode()


def test_a_working_directory_that_is_gone(tmp_path: Path) -> None:
    gone = "mkdir d && cd d && rmdir ../d && pangu"
    assert shell(f"{gone} config list", tmp_path).returncode == 0
    show = shell(f"{gone} show mesh 2b6", tmp_path)
    assert show.returncode == 2, show.stderr
    doctor = shell(f"{gone} doctor tiny_cpu", tmp_path)
    assert doctor.returncode in (1, 2) and b"the working directory has been removed" in doctor.stdout + doctor.stderr


def test_a_variable_that_is_no_number(tmp_path: Path) -> None:
    done = shell("pangu train tiny_cpu output=run", tmp_path, RANK_ID="abc")
    assert done.returncode == 2
    assert "RANK_ID=abc in the environment is not a number" in done.stderr.decode()


def test_settings_stand_anywhere() -> None:
    parser = Parser()
    verbs = parser.add_subparsers(dest="verb", required=True)
    train = verbs.add_parser("train")
    train.add_argument("recipe")
    train.add_argument("overrides", nargs="*")
    train.add_argument("--backend")
    train.add_argument("-v", action="store_true")
    for line in (
        "train tiny a=1 b=2 --backend emulator -v",
        "train tiny --backend emulator a=1 -v b=2",
        "train --backend emulator tiny a=1 b=2 -v",
        "train -v --backend emulator tiny a=1 b=2",
        "train tiny -v a=1 b=2 --backend=emulator",
    ):
        found = parser.parse_args(line.split())
        assert (found.recipe, found.overrides, found.backend, found.v) == ("tiny", ["a=1", "b=2"], "emulator", True)


@pytest.mark.parametrize("dest", ["overrides", "recipe"])
def test_an_option_of_many_paths_leaves_settings_to_others(
    dest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("odd.name=1").touch()
    parser = Parser()
    if dest == "overrides":
        parser.add_argument("overrides", nargs="*")
    else:
        parser.add_argument("--recipe", nargs="+")
    parser.add_argument("--text", nargs="+", type=Path)
    before = ["train.seed=2"] if dest == "overrides" else ["--recipe", "train.seed=2"]
    words = [*before, "--text", "a.txt", "optimizer.beta2=1", "odd.name=1", "device=cpu", "data_url=s3://a//b/", "b"]
    found = parser.parse_args(words)
    assert found.text == [Path("a.txt"), Path("odd.name=1"), Path("b")]
    assert getattr(found, dest) == ["train.seed=2", "optimizer.beta2=1", "device=cpu", "data_url=s3://a//b/"]
    assert parser.parse_args([*before, "--text", "a.b=c"]).text == [Path("a.b=c")]  # the only one: no such file


def test_it_still_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser()
    parser.add_subparsers(required=True).add_parser("list")
    for line in ("list -x", "list extra", "lsit"):
        with pytest.raises(SystemExit) as exit_:
            parser.parse_args(line.split())
        assert exit_.value.code == 2
    assert os.linesep in capsys.readouterr().err


@pytest.mark.parametrize(("package", "extra"), EXTRAS.items())
def test_a_package_of_an_extra_that_is_missing_is_named_with_it(
    package: str, extra: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed

    def work() -> int:
        importlib.import_module(package)
        return 0

    assert run_program("pangu", work) == 2
    assert f"this needs {package}, which is not installed: the project's extra {extra} " in capsys.readouterr().err


def test_extras_are_those_of_the_project() -> None:
    table = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    section = table.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    extras = re.findall(r"^([\w-]+) = \[(.*?)\]$", section, re.MULTILINE | re.DOTALL)
    found = {package: extra for extra, packages in extras for package in re.findall(r'"([\w-]+)', packages)}
    # Where the module is called otherwise.
    modules = {"fasttext-community": "fasttext", "lm-eval": "lm_eval", "pyahocorasick": "ahocorasick"}
    bounded = {"pytablewriter", "python-dateutil"}  # named for the versions that other packages may take
    assert {
        modules.get(package, package): extra for package, extra in found.items() if package not in bounded
    } == EXTRAS


def test_another_module_that_is_missing_is_a_fault_of_this_project() -> None:
    with pytest.raises(ModuleNotFoundError):
        run_program("pangu", lambda: importlib.import_module("no_such_module").x)
