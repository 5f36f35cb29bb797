"""What docs/planner.md shows of `pangu plan` is what it prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pangu_alpha.cli.main import main
from pangu_alpha.config import load_config
from pangu_alpha.planner.hardware import CHIPS
from pangu_alpha.planner.peak import stage_peaks

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "planner.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line)[1:] for line in re.findall(r"```\n\$ (pangu plan [^R\n].*)", DOCUMENT)]
CONFIRMED = [words for words in COMMANDS if "--confirm" in words]
PRINTED = [words for words in COMMANDS if "--confirm" not in words]


def shown(words: list[str]) -> list[str]:
    """The lines below a command, without those that stand for others."""
    block = DOCUMENT.partition(f"$ pangu {shlex.join(words)}\n")[2].partition("```")[0]
    return [line.rstrip() for line in block.splitlines() if line.strip() not in ("", "…")]


@pytest.fixture
def slow_between_racks(tmp_path: Path) -> Path:
    """910A's profile with the links of the document."""
    (links,) = re.findall(r"```yaml\n(links:\n(?:  - .*rack.*\n|  - .*\n)+)```", DOCUMENT)
    text = (CHIPS / "ascend_910a.yaml").read_text(encoding="utf-8")
    text = re.sub(r"links:\n(?:  - .*\n)+", links, text).replace("name: Ascend 910A", "name: 910A, slow between racks")
    path = tmp_path / "my_910a.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("words", PRINTED, ids=" ".join)
def test_what_is_shown_is_printed(
    words: list[str], slow_between_racks: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT / "hccl_configs")
    assert main([str(slow_between_racks) if word == slow_between_racks.name else word for word in words]) == 0
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert len(shown(words)) > 4
    for line in shown(words):
        assert line in printed


@pytest.mark.parametrize("words", CONFIRMED, ids=" ".join)
def test_what_was_confirmed_is_what_is_planned(words: list[str]) -> None:
    """MindSpore's side took half an hour of compiling; `tests/planner/measured.json` keeps it."""
    peaks = stage_peaks(load_config(words[1]))
    rows = [re.match(r" +(\d+) +([\d.]+) GiB +([\d.]+) GiB +([-+][\d.]+)%", line) for line in shown(words)]
    found = [row.groups() for row in rows if row]
    assert len(found) == 3 and f"{len(peaks) - 1}" == found[-1][0]
    for stage, planned, compiled, error in found:
        assert f"{peaks[int(stage)].num_bytes / 2**30:.2f}" == planned
        assert float(planned) / float(compiled) - 1 == pytest.approx(float(error) / 100, abs=1e-3)


def test_the_document_has_examples_of_both_kinds() -> None:
    assert len(PRINTED) >= 2 and len(CONFIRMED) >= 2
