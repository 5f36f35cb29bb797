from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pangu_alpha.cli.main import main


@pytest.fixture
def generate(untrained_run: Path, capfdbinary: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(untrained_run)

    def call(*words: str) -> tuple[int, str, str]:
        code = main(["generate", "--checkpoint", "run", *words])
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    return call


def test_one_prompt_is_continued_after_itself(generate: Callable[..., Any]) -> None:
    code, out, err = generate("--prompt", "天下", "--max-new-tokens", "8", "--seed", "4")
    assert code == 0
    assert out.startswith("天下")
    assert out.endswith("\n")
    assert len(out) > len("天下\n")
    assert "step_00000003" in err
    assert generate("--prompt", "天下", "--max-new-tokens", "8", "--seed", "4")[1] == out
    assert generate("--prompt", "天下", "--max-new-tokens", "8", "--seed", "5")[1] != out


def test_several_prompts_as_json_in_their_order(generate: Callable[..., Any], untrained_run: Path) -> None:
    prompts = ["周末七国", "分", "汉"]
    rows = (json.dumps({"text": prompt}, ensure_ascii=False) + "\n" for prompt in prompts)
    (untrained_run / "prompts.jsonl").write_text("".join(rows), encoding="utf-8")
    common = ("--json", "--max-new-tokens", "40", "--batch-size", "2")
    code, out, _ = generate("--input", "prompts.jsonl", *common)
    results = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [result["prompt"] for result in results] == prompts
    assert all(result["finish"] == "length" or result["num_tokens"] <= 40 for result in results)
    assert generate("--prompt", *prompts, *common)[1] == out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--prompt", "天", "--tokenizer", "other"), "was trained with lossless:"),
        (("--prompt", "天", "--tokenizer", "nowhere"), "no tokenizer at nowhere"),
        (("--prompt", "天", "--top-p", "2"), "top_p is 2.0"),
        (("--prompt", ""), "prompt 1 is empty"),
        (("--input", "nowhere.jsonl"), "no such file"),
    ],
)
def test_wrong_input_is_refused_in_a_sentence(
    generate: Callable[..., Any], words: tuple[str, ...], message: str
) -> None:
    code, out, err = generate(*words)
    assert code == 2
    assert out == ""
    assert message in err
    assert "Traceback" not in err
