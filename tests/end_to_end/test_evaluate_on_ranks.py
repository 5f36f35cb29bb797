"""`pangu evaluate perplexity --recipe`: the ranks that share a network measure what one process does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.end_to_end.conftest import start_simulated_rank

if TYPE_CHECKING:
    from tests.conftest import TinyProject

MESH = ("parallel.mp=2", "parallel.pp=2", "train.num_micro_batches=2")


@pytest.fixture(scope="module")
def expected(tiny_project: TinyProject) -> dict[str, Any]:
    """What one process says of a run."""
    done = tiny_project.pangu("train", "recipe.yaml", "train.steps=5", "output=measured")
    assert done.returncode == 0, done.stderr
    return measured(tiny_project, "alone.json")


def words(project: TinyProject, result: str, *more: str) -> tuple[str, ...]:
    where = ("--checkpoint", "measured", "--input", project.text.name, "--json", result)
    return ("evaluate", "perplexity", *where, *more)


def measured(project: TinyProject, result: str, *more: str) -> dict[str, Any]:
    done = project.pangu(*words(project, result, *more))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((project.folder / result).read_text())
    return found


def require_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        if name == "parts":  # of one process alone
            continue
        assert found[name] == (pytest.approx(value, rel=5e-6) if isinstance(value, float) else value), name


def test_the_programs_of_four_ranks_say_the_same(tiny_project: TinyProject, expected: dict[str, Any]) -> None:
    require_same(measured(tiny_project, "split.json", "--recipe", "recipe.yaml", *MESH, "output=split"), expected)


def test_so_do_two_processes_of_a_launcher(tiny_project: TinyProject, expected: dict[str, Any]) -> None:
    before = {path: path.read_bytes() for path in (tiny_project.folder / "measured").rglob("*") if path.is_file()}
    words = ("--workers", "2", "recipe.yaml", "output=measured", "--evaluate", tiny_project.text.name)
    done = tiny_project.pangu("launch", "msrun", *words)
    assert done.returncode == 0, done.stderr
    folder = tiny_project.folder / "measured"
    require_same(json.loads((folder / "evaluation" / "perplexity.json").read_text()), expected)
    assert all(path.read_bytes() == content for path, content in before.items())


def test_ascend_ranks_go_the_whole_way(tiny_project: TinyProject, expected: dict[str, Any]) -> None:
    """In MindSpore's simulation: slices are filled from the checkpoint, the forward-only programs are called."""
    recipe = ("--recipe", "recipe.yaml", *MESH, "device=ascend", "output=simulated")
    processes = [
        start_simulated_rank(tiny_project, rank, (0, 3), *words(tiny_project, f"rank_{rank}.json", *recipe))
        for rank in (0, 3)
    ]
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    found = json.loads((tiny_project.folder / "rank_0.json").read_text())
    assert found["tokens"] == expected["tokens"] and found["step"] == 5
    # The numbers of a simulated device mean nothing; only rank 0 tells them.
    assert not (tiny_project.folder / "rank_3.json").exists()


def test_nothing_is_compiled_for_a_checkpoint_that_is_not_there(tiny_project: TinyProject) -> None:
    where = ("--checkpoint", "nowhere", "--input", tiny_project.text.name)
    done = tiny_project.pangu("evaluate", "perplexity", *where, "--recipe", "recipe.yaml", *MESH, "data.train=[]")
    assert done.returncode == 2 and "no checkpoint at nowhere" in done.stderr and "compiling" not in done.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--batch-size", "2"), "set that"),
        (("model.hidden_size=64",), "another network: model.hidden_size is 32 there and 64"),
        (("tokenizer=null",), "names no tokenizer"),
        (("tokenizer=other_tokenizer",), "belongs to"),
        (("train.batch_size=3", "parallel.dp=2"), "train.batch_size(3)"),
    ],
)
def test_what_does_not_fit_is_said(
    tiny_project: TinyProject, expected: dict[str, Any], more: tuple[str, ...], said: str
) -> None:
    done = tiny_project.pangu(*words(tiny_project, "wrong.json", "--recipe", "recipe.yaml", "output=wrong", *more))
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr, done.stderr
