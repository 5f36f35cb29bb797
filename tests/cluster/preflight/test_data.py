from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pangu_alpha.cluster.preflight.data import check_data
from pangu_alpha.config import RunConfig, load_config


@pytest.fixture
def project(tiny_project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """A recipe with a copy of its tokenizers and token files, to be damaged."""
    for name in ("tokens", "tokenizer", "other_tokenizer"):
        shutil.copytree(tiny_project.folder / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return load_config(tiny_project.recipe)


def test_good_data(project: RunConfig) -> None:
    findings, training_data = check_data(project)
    assert [(finding.what, finding.state) for finding in findings] == [
        ("tokenizer", "ok"),
        ("data.train[0]", "ok"),
        ("data.validation[0]", "ok"),
    ]
    assert len(training_data) == 16


def test_every_bad_file_is_named(project: RunConfig) -> None:
    with Path("tokens/train.bin").open("r+b") as file:
        file.truncate(100)
    Path("tokens/validation.json").unlink()
    findings, training_data = check_data(project)
    assert [finding.state for finding in findings] == ["ok", "bad", "bad"]
    assert "truncated" in findings[1].found
    assert "validation.json: no such file" in findings[2].found
    assert all("pangu data pack" in finding.fix for finding in findings[1:])
    assert training_data == "unreadable"


def test_another_tokenizer(project: RunConfig) -> None:
    other = project.model_copy(update={"tokenizer": Path("other_tokenizer")})
    findings, _ = check_data(other)
    assert [finding.state for finding in findings] == ["bad", "bad", "bad"]  # and it has more ids than the network
    assert "model.vocab_size" in findings[0].fix
    larger = other.model_copy(update={"model": other.model.model_copy(update={"vocab_size": 600})})
    findings, _ = check_data(larger)
    assert [finding.state for finding in findings] == ["ok", "bad", "bad"]
    assert all("packed with the tokenizer" in finding.found for finding in findings[1:])


def test_a_missing_tokenizer_and_no_data(project: RunConfig, recipe: Any) -> None:
    findings, _ = check_data(project.model_copy(update={"tokenizer": Path("nowhere")}))
    assert (findings[0].what, findings[0].state) == ("tokenizer", "bad")
    findings, _ = check_data(recipe("data.train=[]"))
    assert [(finding.what, finding.state) for finding in findings] == [("tokenizer", "skipped")]
