from __future__ import annotations

import pytest

from pangu_alpha.cli.main import main
from pangu_alpha.config import list_recipes


def test_show_prints_the_arithmetic_of_the_paper(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "200b_2048"]) == 0
    text = capsys.readouterr().out
    for fact in ("206,861,008,896", "dp 16 × mp 8 × pp 16 = 2048", "262,144 = 256 samples × 1,024", "130,000"):
        assert fact in text


def test_list_names_every_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "list"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in list_recipes())


def test_yaml_output_is_a_recipe(capsys: pytest.CaptureFixture[str], tmp_path: object) -> None:
    assert main(["config", "show", "2b6", "train.steps=7", "--yaml"]) == 0
    path = tmp_path / "copy.yaml"  # type: ignore[operator]
    path.write_text(capsys.readouterr().out)
    assert main(["config", "show", str(path)]) == 0
    assert "steps                  7\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["2b7"], "did you mean '2b6'?"),
        (["2b6", "train.stesp=3"], "did you mean 'steps'?"),
        (["13b", "model.num_heads=33"], "hidden_size(5120) ÷ num_heads(33)"),
        (["2b6", "train.steps"], "not of the form"),
        (["tiny_cpu", "model.compute_dtype=bfloat16"], "no bfloat16 matrix product"),
    ],
)
def test_mistakes_end_with_code_2_and_a_hint(
    arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "show", *arguments]) == 2
    assert hint in capsys.readouterr().err
