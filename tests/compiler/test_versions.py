"""What was kept from other code is never taken: the versions cover all that programs and verdicts rest on."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

from pangu_alpha.compiler import versions
from pangu_alpha.compiler.versions import import_closure, imported_names, program_version, verdict_version

PROGRAM = import_closure(versions.PROGRAM_MAKERS)
VERDICT = import_closure(versions.VERDICT_MAKERS)


def test_how_the_network_on_one_device_is_made_counts() -> None:
    """What it runs on and whether its operators are joined is set where a verdict is made, not by the command."""
    assert "pangu_alpha.runtime.device" in VERDICT


@pytest.mark.parametrize(
    ("statement", "closure"),
    [
        ("import pangu_alpha.compiler.server, pangu_alpha.training.distributed", PROGRAM),
        ("import pangu_alpha.verification.parity", VERDICT),
    ],
)
def test_every_module_that_python_loads_is_covered(statement: str, closure: dict[str, Path]) -> None:
    """The makers' own imports, followed by Python itself instead of by reading sources."""
    code = f"import sys; {statement}; print(*(name for name in sys.modules if name.startswith('pangu_alpha')))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    names = set(loaded.splitlines()[-1].split())
    assert len(names) > 30 and names <= set(closure)


def test_what_the_makers_load_late_is_covered() -> None:
    assert "pangu_alpha.training.distributed" in PROGRAM  # inside a function of `server.py`
    for name in ("kernels.matmul", "interpreter", "machine", "collectives"):
        assert f"pangu_alpha.emulator.{name}" in VERDICT
    for name in ("verification.parity", "verification.cases", "parallel.implied", "program.flow", "compiler.versions"):
        assert f"pangu_alpha.{name}" in VERDICT
    assert set(PROGRAM) < set(VERDICT)


def test_every_package_of_others_that_computes_is_covered() -> None:
    computes_nothing = {
        *("matplotlib", "pydantic", "PyYAML", "rich", "sentencepiece", "typing_extensions", "xxhash", "zstandard"),
    }
    names = {name.partition(".")[0] for path in VERDICT.values() for name in imported_names(path.read_bytes())}
    # Not `packages_distributions`: Python 3.10's knows only the packages that list their names in a file of their own.
    tops = {one.name: {file.parts[0].removesuffix(".py") for file in one.files or ()} for one in distributions()}
    used = {name for name, top in tops.items() if names & top}
    assert used - computes_nothing - {"pangu-alpha"} == set(versions.VERDICT_PACKAGES)


@pytest.mark.parametrize(
    ("file", "changes_programs"),
    [
        ("model/layer.py", True),
        ("compiler/ge_standin.cpp", True),
        ("training/distributed.py", True),
        ("emulator/kernels/matmul.py", False),
        ("emulator/interpreter.py", False),
        ("verification/parity.py", False),
        ("verification/cases.py", False),
        ("training/loss_scale.py", False),
        ("cli/verify.py", None),
    ],
)
def test_a_changed_file_changes_the_versions(
    file: str, changes_programs: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = program_version(), verdict_version()
    copy = tmp_path / "pangu_alpha"
    shutil.copytree(versions._FOLDER, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(versions, "_FOLDER", copy)
    assert (program_version(), verdict_version()) == before
    is_python = file.endswith(".py")
    if is_python:
        text = (copy / file).read_text(encoding="utf-8")
        told = r'\1\2 \3\n\1    """Told otherwise."""\n\1    # So.'
        comments = re.sub(r"^( *)(def|class) (.*:)$", told, text, flags=re.MULTILINE)
        assert "# So." in comments
        (copy / file).write_text(f"# A comment.\n{comments}", encoding="utf-8")
        assert (program_version(), verdict_version()) == before
    with (copy / file).open("a", encoding="utf-8") as source:
        source.write("pass\n")
    assert (program_version() != before[0]) == bool(changes_programs)
    assert (verdict_version() != before[1]) == (changes_programs is not None)


def test_a_name_a_number_and_a_text_are_no_comments() -> None:
    source = 'def f(x):\n    """Says."""\n    y = "a"\n    """More."""\n    return x + 1, y\n'
    same = source.replace("Says.", "Tells.").replace('    """More."""\n', "    # More.\n")
    assert versions._statements(same.encode()) == versions._statements(source.encode())
    for old, new in (("x + 1", "x + 2"), ('"a"', '"b"'), ("def f", "def g"), ("return x", "return y"), ("y =", "z =")):
        assert versions._statements(source.replace(old, new).encode()) != versions._statements(source.encode())
