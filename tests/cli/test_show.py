from __future__ import annotations

from pathlib import Path

import pytest

from pangu_alpha.cli.main import main


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("mesh", "dp(16) × mp(8) × pp(16) = 2048 devices"),
        ("stages", "   15      4      13.6G"),
        ("schedule", "(were all stages alike: (pp - 1) / (m + pp - 1) = 48.4%)"),
    ],
)
def test_pictures_of_the_paper_s_largest_job(
    what: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["show", what, "200b_2048", "train.num_micro_batches=16"]) == 0
    assert said in capsys.readouterr().out
    assert Path(f"{what}.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_even_stages_have_the_bubble_of_the_formula(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A vocabulary so small that the head costs nothing.
    words = ["model.num_layers=8", "model.vocab_size=2", "parallel={pp: 4}", "train.num_micro_batches=8"]
    assert main(["show", "schedule", "tiny_cpu", *words, "--output", str(tmp_path / "schedule.png")]) == 0
    assert "bubble 27.3%" in capsys.readouterr().out  # 3 / 11


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mesh", "tiny_cpu", "--output", "mesh.jpeg"], "svg or .png"),
        (["stages", "tiny_cpu", "parallel.pp=5"], "num_layers(4)"),
        (["schedule", "tiny_cpu", "parallel.pp=4"], "num_micro_batches(1) < pp(4)"),
    ],
)
def test_what_cannot_be_drawn(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["show", *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
