"""Tasks on ranks that share a network: measured by a verb, by a launcher, and during the training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.end_to_end.conftest import start_simulated_rank
from tests.evaluation.tasks.published import published, write_published

if TYPE_CHECKING:
    from tests.conftest import TinyProject

MESH = ("parallel.mp=2", "parallel.pp=2", "train.num_micro_batches=2")
LONG = ("model.seq_length=256", "data.validation=[]")
TASKS = ("--tasks", "c3,cmrc2019,wplc", "--shots", "0,few", "--limit", "4", "c3.few=2", "cmrc2019.few=1")


@pytest.fixture(scope="module")
def project(tiny_project: TinyProject) -> TinyProject:
    """With data sets, and a run that has seen 256 tokens at once."""
    write_published(tiny_project.folder / "data_sets", published())
    done = tiny_project.pangu("train", "recipe.yaml", "train.steps=3", "output=answering", *LONG)
    assert done.returncode == 0, done.stderr
    return tiny_project


def ask(project: TinyProject, output: str, *more: str) -> Any:
    where = ("--checkpoint", "answering", "--data", "data_sets", "--output", output)
    return project.pangu("evaluate", "tasks", *where, *TASKS, *more)


def answers(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        path.name: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in sorted((folder / "answers").iterdir())
    }


def require_same(found: Path, expected: Path) -> None:
    """The same questions and answers; costs to 1e-4 nats a token, and the network's own name aside."""
    ours, theirs = answers(found), answers(expected)
    assert ours.keys() == theirs.keys() and len(ours) == 6
    for name, (header, *records) in ours.items():
        other_header, *others = theirs[name]
        assert header == other_header
        for record, other in zip(records, others, strict=True):
            assert record["tokens"] == other["tokens"]
            assert record["mean"] == pytest.approx(other["mean"], abs=1e-4)
            for key in ("id", "prompts", "examples", "limit", "choices", "answer"):
                assert record[key] == other[key]
            if record["choices"]:
                assert record["prediction"] == other["prediction"]


def test_four_emulated_ranks_answer_as_one_process(project: TinyProject) -> None:
    done = ask(project, "alone")
    assert done.returncode == 0, done.stderr
    done = ask(project, "split", "--recipe", "recipe.yaml", *MESH, *LONG, "output=ranks")
    assert done.returncode == 0, done.stderr
    assert "fills one" in done.stderr
    require_same(project.folder / "split", project.folder / "alone")


def test_so_do_two_processes_of_a_launcher(project: TinyProject) -> None:
    words = ("--workers", "2", "recipe.yaml", *LONG, "train.batch_size=2", "output=answering")
    asked = ("--tasks", "cmrc2019,wplc", "--shots", "0", "--data", "data_sets")
    done = project.pangu("launch", "msrun", *words, *asked)
    assert done.returncode == 0, done.stderr
    found = answers(project.folder / "answering" / "evaluation" / "step_00000003")
    expected = answers(project.folder / "alone")
    for name, (_, *records) in found.items():
        known = {record["id"]: record for record in expected[name][1:]}
        assert sum(record["id"] in known for record in records) == 4
        for record in records:
            if record["id"] in known:
                assert record["mean"] == pytest.approx(known[record["id"]]["mean"], abs=1e-4)


def test_ascend_ranks_go_the_whole_way(project: TinyProject) -> None:
    """In MindSpore's simulation. Rank 0 asks, and rank 3, which has no data sets, ends with it."""
    recipe = ("--recipe", "recipe.yaml", *MESH, *LONG, "device=ascend", "output=simulated")
    asked = ("--checkpoint", "answering", "--tasks", "cmrc2019", "--limit", "2", "--output", "of_devices")
    processes = [
        start_simulated_rank(project, rank, (0, 3), "evaluate", "tasks", *asked, "--data", data, *recipe)
        for rank, data in ((0, "data_sets"), (3, "nowhere"))
    ]
    said = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    # The numbers of a simulated device mean nothing; only rank 0 tells them.
    assert "CMRC2019" in said[0][0] and not said[1][0]
    assert len(answers(project.folder / "of_devices")["cmrc2019.0.1.jsonl"]) == 3


@pytest.mark.parametrize("mesh", [(), ("parallel.mp=2",)], ids=["one process", "two emulated ranks"])
def test_tasks_during_the_training_change_nothing(project: TinyProject, mesh: tuple[str, ...]) -> None:
    """Dropout included: the network is at rest while it answers, and at work again after."""
    words = ("train", "recipe.yaml", *LONG, *mesh, "train.batch_size=2", "train.steps=3", "train.checkpoint_every=1")
    tasks = ("tasks.names=[cmrc2019]", "tasks.data=data_sets", "tasks.every=2", "tasks.limit=3")
    name = "ranks" if mesh else "one"
    done = project.pangu(*words, f"output=asked_{name}", *tasks)
    assert done.returncode == 0, done.stderr
    if not mesh:
        plain = project.pangu(*words, "output=plain")
        assert plain.returncode == 0, plain.stderr
        assert project.losses("asked_one") == project.losses("plain")
    run = project.folder / f"asked_{name}"
    records = [json.loads(line) for line in (run / "tasks.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if record["metric"] == "mean"] == [2, 3]
    assert "step 2: cmrc2019 0-shot Acc (mean)" in done.stderr
    # What was measured between steps is what the checkpoint of that step says.
    again = project.pangu(
        "evaluate", "tasks", "--checkpoint", str(run / "checkpoints" / "step_00000002"), "--data", "data_sets",
        "--tasks", "cmrc2019", "--limit", "3", "--output", f"again_{name}",
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    ours = answers(run / "tasks" / "step_00000002")["cmrc2019.0.1.jsonl"]
    theirs = answers(project.folder / f"again_{name}")["cmrc2019.0.1.jsonl"]
    for record, other in zip(ours[1:], theirs[1:], strict=True):
        assert record["id"] == other["id"]
        assert record["mean"] == pytest.approx(other["mean"], abs=1e-4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("evaluate", "cmrc2018"), "cmrc2018: answered in free text"),
        (("evaluate", "pd,cft"), "pd, cft: answered in free text"),
        (("train", "tasks.names=[cmrc2019]"), "tasks.names without tasks.data"),
        (("train", "tasks.names=[cmrc]", "tasks.data=data_sets"), "no task is called 'cmrc'"),
        (("train", "tasks.names=[c3]", "tasks.data=nowhere"), "nowhere"),
        (("train", "tasks.names=[c3]", "tasks.data=data_sets", "tokenizer=null"), "tasks.names without a tokenizer"),
        (("train", "tasks.names=[c3]", "tasks.data=data_sets", "model.seq_length=16"), "but the network sees 16"),
        (("train", "tasks.names=[pd]", "tasks.data=data_sets", *MESH), "pd: answered in free text"),
        (("launch", "--tasks", "c3"), "--tasks needs --data"),
        (("launch", "--data", "data_sets"), "--data without --tasks"),
        (("launch", "--tasks", "c3", "--evaluate", "text.jsonl"), "one after the other"),
    ],
)
def test_what_cannot_be_asked_is_said_before_anything_is_compiled(
    project: TinyProject, words: tuple[str, ...], said: str
) -> None:
    verb, *more = words
    if verb == "evaluate":
        where = ("--checkpoint", "answering", "--data", "data_sets", "--output", "wrong", "--tasks", more[0])
        done = project.pangu("evaluate", "tasks", *where, "--recipe", "recipe.yaml", *MESH, *LONG)
    elif verb == "launch":
        done = project.pangu("launch", "msrun", "--workers", "2", "recipe.yaml", "output=answering", *more)
    else:
        done = project.pangu("train", "recipe.yaml", "output=wrong", *LONG, *more)
    assert done.returncode == 2 and said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and "compiling" not in done.stderr
