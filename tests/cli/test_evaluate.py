from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from pangu_alpha.cli.main import main


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    lines = ["话说天下大势，分久必合，合久必分。", "周末七国分争，并入于秦；及秦灭之后，楚、汉分争，又并入于汉。"]
    for name, texts in (("train", lines * 3), ("validation", ["天下分争，并入于汉。"])):
        rows = (json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
        (tmp_path / f"{name}.jsonl").write_text("".join(rows), encoding="utf-8")
    return tmp_path


def test_ngrams_prints_and_writes_the_numbers(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "ngrams", "--train", "train.jsonl", "--input", "validation.jsonl", "--json", "out/ngrams.json"]
    assert main(words) == 0
    numbers = json.loads((corpus / "out/ngrams.json").read_text(encoding="utf-8"))
    assert numbers["characters"] == 10
    assert numbers["unknown_characters"] == 0
    assert 0 < numbers["trigram_bits_per_character"] < numbers["unigram_bits_per_character"] < 8
    out = capsys.readouterr().out
    assert f"{numbers['trigram_bits_per_character']:.4f}" in out
    assert [path.name for path in (corpus / "out").iterdir()] == ["ngrams.json"]


def test_perplexity_of_a_network(corpus: Path, untrained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "perplexity", "--checkpoint", str(untrained_run / "run"), "--input", "validation.jsonl"]
    assert main([*words, "--stride", "8", "--json", "perplexity.json"]) == 0
    numbers = json.loads((corpus / "perplexity.json").read_text(encoding="utf-8"))
    assert (numbers["step"], numbers["window"], numbers["stride"]) == (3, 32, 8)
    assert (numbers["characters"], numbers["documents"]) == (10, 1)
    assert numbers["perplexity"] == pytest.approx(math.exp(numbers["loss"]))
    assert sum(nats for nats, _ in numbers["parts"]) / numbers["tokens"] == pytest.approx(numbers["loss"])
    assert numbers["bits_per_character"] == pytest.approx(numbers["loss"] * numbers["tokens"] / math.log(2) / 10)
    assert f"{numbers['loss']:.4f}" in capsys.readouterr().out
    assert main([*words, "--stride", "33"]) == 2
    assert "the stride is 33" in capsys.readouterr().err


def test_a_missing_file_is_said_before_mindspore_starts(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "perplexity", "--checkpoint", "run", "--input", "nowhere.jsonl"]
    assert main(words) == 2
    assert "nowhere.jsonl: no such file" in capsys.readouterr().err


def test_a_directory_without_checkpoint_is_refused(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "perplexity", "--checkpoint", ".", "--input", "validation.jsonl"]) == 2
    assert "no checkpoint at ." in capsys.readouterr().err


def test_a_result_that_cannot_be_written_is_said(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "ngrams", "--train", "train.jsonl", "--input", "validation.jsonl"]
    assert main([*words, "--json", "train.jsonl/x.json"]) == 2
    assert "train.jsonl/x.json was not written" in capsys.readouterr().err
