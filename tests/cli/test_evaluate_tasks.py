from __future__ import annotations

import json
import os
from pathlib import Path

os.environ.setdefault("GLOG_v", "3")  # before MindSpore is imported

import numpy as np
import pytest
from tests.evaluation.tasks.published import published, write_published

from pangu_alpha.checkpoint import save_whole
from pangu_alpha.cli.main import main
from pangu_alpha.config import build_config
from pangu_alpha.tokenizer import load_tokenizer, train_tokenizer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data sets, and the run of a network that has not been trained."""
    from pangu_alpha.model import build_network
    from pangu_alpha.runtime.device import set_device

    set_device("cpu")
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "data").mkdir()
    write_published(folder / "data", published())
    train_tokenizer([text for files in published().values() for text in files.values()], folder / "tok", 700)
    tokenizer = load_tokenizer(folder / "tok")
    sizes = {"num_layers": 2, "hidden_size": 16, "num_heads": 2, "vocab_size": tokenizer.vocab_size, "seq_length": 128}
    settings = {
        "device": "cpu",
        "fuse_operators": False,
        "tokenizer": str(folder / "tok"),
        "model": {**sizes, "final_norm": "after_query_layer", "compute_dtype": "float32"},
        "train": {"steps": 1, "batch_size": 1},
        "schedule": {"learning_rate": 1e-3, "end_learning_rate": 1e-4, "decay_steps": 3000},
    }
    for run, seed in (("run", 1), ("other", 2)):
        config = build_config(settings)
        network = build_network(config.model, seed)
        weights = {item.name: item.asnumpy() * np.float32(5) for item in network.trainable_params()}
        state = {"config": config.model_dump(mode="json"), "tokenizer_fingerprint": tokenizer.fingerprint}
        save_whole(folder / run / "checkpoints", 3, weights, state)
    return folder


@pytest.fixture
def in_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


def words(run: str, output: str, *more: str) -> list[str]:
    named = ["--checkpoint", run, "--data", "data", "--output", output]
    return ["evaluate", "tasks", *named, "--tasks", "tnews,cft", "--shots", "0,few", *more]


def test_two_networks_are_measured_shown_drawn_and_compared(in_place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words("run", "first", "cft.max_new_tokens=3")) == 0
    table = capsys.readouterr().out
    assert [line.split()[0] for line in table.splitlines()[1:4]] == ["CFT", "TNEWS", "TNEWS"]
    results = json.loads((in_place / "first/results.json").read_text(encoding="utf-8"))
    assert {(one["task"], one["metric"], one["shots"]) for one in results} == {
        (task, metric, shots)
        for task, metric in (("tnews", "mean"), ("tnews", "sum"), ("cft", "accuracy"))
        for shots in ("0", "few")
    }
    assert (in_place / "first/table.txt").read_text(encoding="utf-8") == table
    names = sorted(path.name for path in (in_place / "first").iterdir())
    assert names == ["answers", "results.json", "table.md", "table.tex", "table.txt"]
    answers = (in_place / "first/answers/tnews.few.1.jsonl").read_text(encoding="utf-8").splitlines()
    header, first = json.loads(answers[0]), json.loads(answers[1])
    assert header["network"]["step"] == 3
    assert header["network"]["parameters"] > 10_000
    assert len(header["examples"][""]) == 6
    assert first["prompts"][0][1] == "狐狸的故事讲完了，河边"
    assert first["mean"] == pytest.approx(
        [nats / n for nats, n in zip(first["nats"], first["tokens"], strict=True)], abs=1e-4
    )

    before = {path: path.stat().st_mtime_ns for path in (in_place / "first/answers").iterdir()}
    assert main(words("run", "first", "cft.max_new_tokens=3")) == 0  # nothing is left to ask
    assert capsys.readouterr().out == table
    assert {path.read_text(encoding="utf-8").count("\n") for path in before} == {8, 6}

    assert main(words("other", "second", "cft.max_new_tokens=3")) == 0
    assert main(["evaluate", "table", "first", "second", "--format", "markdown", "--picture", "scale.svg"]) == 0
    out = capsys.readouterr().out
    assert out.count("| TNEWS |") == 4
    assert "first: run/checkpoints/step_00000003" in out
    assert "TNEWS: Acc (mean)" in (in_place / "scale.svg").read_text(encoding="utf-8")
    assert main(["evaluate", "diff", "first", "second", "--items", "2"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[:3] for line in out.splitlines() if not line.startswith((" ", "task"))] == [
        ["cft", "0", "1"], ["cft", "few", "1"],
        ["tnews", "0", "1"], ["tnews", "0", "1"], ["tnews", "few", "1"], ["tnews", "few", "1"],
    ]  # fmt: skip
    assert "better: " in out or "worse: " in out
    assert main(words("run", "first")) == 2
    assert "was made with other settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--tasks", "tnew"], "no task is called 'tnew': did you mean tnews?"),
        (["--shots", "0,2"], "'2' is none of 0, 1 and few"),
        (["--limit", "0"], "--limit is 0, but it must be at least 1"),
        (["--seed", "-1"], "--seed is -1"),
        (["tnews.fewer=3"], "tnews.fewer is no setting: did you mean few?"),
        (["tnews.few=x"], "tnews.few=x is not a whole number"),
        (["cft.top_p=2"], "cft.top_p is 2.0, but it must be above 0 and at most 1"),
        (["cft.split=dev"], "cft.split is dev, but it must be one of auto, human"),
        (["c3.split=test"], "c3 is not among the tasks to be measured (tnews, cft)"),
        (["tnews.scored={sentence}"], "cannot be filled ('sentence'): this task has {passage}, {choice}"),
        (["nonsense"], "'nonsense' is no setting: write TASK.FIELD=VALUE"),
        (["--data", "nowhere"], "nowhere is no folder"),
        (["tnews.num_choices=99"], "tnews.num_choices is 99, but item 0 has 15 choices"),
        (["cft.few=50"], "ask for fewer with cft.few=6"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_mindspore_starts(
    more: list[str], message: str, in_place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words("nowhere", "none", *more)) == 2
    assert message in capsys.readouterr().err
    assert not (in_place / "none").exists()


def test_results_that_are_none_are_refused(in_place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "table", "data"]) == 2
    assert "data holds no answers" in capsys.readouterr().err
    assert main(["evaluate", "diff", "nowhere", "data"]) == 2
    assert "nowhere holds no answers" in capsys.readouterr().err
