from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pangu_alpha.checkpoint import save_checkpoint
from pangu_alpha.cli.main import main
from pangu_alpha.config import build_config
from pangu_alpha.tokenizer import load_tokenizer, train_tokenizer

TEXTS = ["话说天下大势，分久必合，合久必分。", "周末七国分争，并入于秦；及秦灭之后，楚、汉分争，又并入于汉。"]


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network's run, with two tokenizers: the run's own, `tok`, and another one."""
    from pangu_alpha.model import build_network
    from pangu_alpha.training.device import set_device

    set_device("cpu")
    folder = tmp_path_factory.mktemp("generate")
    train_tokenizer(TEXTS, folder / "tok", 320)
    train_tokenizer(TEXTS[:1], folder / "other", 290)
    config = build_config(
        {
            "device": "cpu",
            "fuse_operators": False,
            "tokenizer": str(folder / "tok"),
            "model": {
                "num_layers": 2,
                "hidden_size": 16,
                "num_heads": 2,
                "vocab_size": 330,
                "seq_length": 32,
                "final_norm": "after_query_layer",
                "compute_dtype": "float32",
            },
            "train": {"steps": 1, "batch_size": 1},
            "schedule": {"learning_rate": 1e-3, "end_learning_rate": 1e-4, "decay_steps": 3000},
        }
    )
    network = build_network(config.model, 1)
    weights = {item.name: item.asnumpy() * np.float32(5) for item in network.trainable_params()}
    state = {
        "config": config.model_dump(mode="json"),
        "tokenizer_fingerprint": load_tokenizer(folder / "tok").fingerprint,
    }
    save_checkpoint(folder / "run" / "checkpoints", 3, {"weights": weights}, state)
    return folder


@pytest.fixture
def generate(run_directory: Path, capfdbinary: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(run_directory)

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


def test_several_prompts_as_json_in_their_order(generate: Callable[..., Any], run_directory: Path) -> None:
    prompts = ["周末七国", "分", "汉"]
    rows = (json.dumps({"text": prompt}, ensure_ascii=False) + "\n" for prompt in prompts)
    (run_directory / "prompts.jsonl").write_text("".join(rows), encoding="utf-8")
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
def test_wrong_input_is_refused_in_a_sentence(generate: Callable[..., Any], words: tuple[str, ...], message: str) -> None:
    code, out, err = generate(*words)
    assert code == 2
    assert out == ""
    assert message in err
    assert "Traceback" not in err
