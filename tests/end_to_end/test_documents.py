"""Commands that documents tell a newcomer to paste, pasted as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import user_environment

ROOT = Path(__file__).parents[2]


def _commands(document: str, heading: str) -> str:
    """The indented lines of a section."""
    text = (ROOT / document).read_text(encoding="utf-8")
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    return "".join(f"{line}\n" for line in re.findall(r"^    (.*)$", section[1], re.MULTILINE))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory that looks like the checkout, whose installation is that of these tests."""
    for name in ("configs", "requirements.txt"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "launch").mkdir()
    for path in (ROOT / "launch").iterdir():
        (tmp_path / "launch" / path.name).symlink_to(path)
    # The installation has its own tests; what comes after it is meant here.
    (tmp_path / "launch" / "install.sh").unlink()
    (tmp_path / "launch" / "install.sh").write_text("test -x .venv/bin/python\n", encoding="utf-8")
    return tmp_path


def test_one_verb_at_a_time(checkout: Path) -> None:
    script = _commands("README.md", "One verb at a time")
    assert script.count("\n") > 20
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=checkout,
        env=user_environment(),
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=550,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "却说曹操" in done.stdout
    for product in ("run/loss.png", "run/checkpoints/step_00000020/index.json", "two_workers/loss.png"):
        assert (checkout / "mine" / product).exists(), product
