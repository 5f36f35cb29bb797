import json
from pathlib import Path

import pytest

from pangu_alpha.cli.main import main

RECIPE = """
model: {num_layers: 2, hidden_size: 32, num_heads: 2, vocab_size: 65, seq_length: 16,
        final_norm: before_query_layer, dropout: 0.0, compute_dtype: float32}
train: {steps: 10, batch_size: 4, num_micro_batches: 2}
schedule: {learning_rate: 1.0e-3, end_learning_rate: 1.0e-4, warmup_steps: 2, decay_steps: 10}
parallel: {dp: 2, mp: 2, pp: 2, optimizer_sharding: true, rematerialisation: whole}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    return str(path)


def test_one_rank_a_stage_is_compiled_and_saved(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", recipe, "--save", str(tmp_path / "programs")]) == 0
    output = capsys.readouterr().out
    assert "dp(2) × mp(2) × pp(2) = 8 ranks, 2 micro-batches" in output
    assert "collectives of a step, rank 0" in output and "collectives of a step, rank 4" in output
    assert "every collective is implied by the sharding table" in output and "✗" not in output
    for rank in (0, 4):
        folder = tmp_path / "programs" / f"rank_{rank}"
        assert (folder / "program.mindir").stat().st_size > 10_000
        assert "adam_m." in json.dumps(json.loads((folder / "layout.json").read_text()))


def test_a_program_that_does_not_fit_is_an_error(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", recipe, "--rank", "0", "--device-memory", "0.0001"]) == 1
    captured = capsys.readouterr()
    assert "✗" in captured.out
    assert "pangu: rank 0: MindSpore plans" in captured.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rank", "8"], "its ranks are 0 to 7"),
        (["--jobs", "0"], "--jobs 0 compiles nothing"),
        (["--device-memory", "-1"], "--device-memory -1.0"),
        (["parallel.dp=1", "parallel.mp=1", "parallel.pp=1", "parallel.optimizer_sharding=false"], "has one rank"),
    ],
)
def test_wrong_requests_say_what_to_do(
    words: list[str], message: str, recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", recipe, *words]) == 2
    assert message in capsys.readouterr().err
