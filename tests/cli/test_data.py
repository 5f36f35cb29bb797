from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import pangu_alpha.tokenizer
from pangu_alpha.cli.main import main
from pangu_alpha.tokenizer import load_tokenizer, train_tokenizer

VERSES = [
    "床前明月光，疑是地上霜。\n举头望明月，低头思故乡。\n",
    "春眠不觉晓，处处闻啼鸟。\n",
    "白日依山尽，黄河入海流。\n",
]

Run = Callable[..., tuple[int, str, str]]


class ByteTokenizer:
    codec, vocab_size, pad_id, eod_id, eot_id = "bytes", 259, 0, 1, 2

    def __init__(self, path: Path) -> None:
        self.fingerprint = f"bytes-{path.name}"

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [[3 + byte for byte in text.encode()] for text in texts]

    def decode(self, ids: list[int]) -> str:
        return bytes(token - 3 for token in ids if token >= 3).decode(errors="replace")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run `pangu data ...` in an empty directory: exit code, stdout, stderr."""
    monkeypatch.setattr(pangu_alpha.tokenizer, "load_tokenizer", ByteTokenizer)
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        code = main(["data", *words])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def text(tmp_path: Path) -> Path:
    lines = [json.dumps({"text": verse}, ensure_ascii=False) + "\n" for verse in [*VERSES, ""]]
    (tmp_path / "text.jsonl").write_text("".join(lines), encoding="utf-8")
    return tmp_path / "text.jsonl"


def test_from_text_to_samples(run: Run, text: Path) -> None:
    code, out, err = run("pack", "--input", "text.jsonl", "--tokenizer", "one", "--output", "tokens/train")
    assert code == 0
    num_tokens = sum(len(verse.encode()) + 1 for verse in VERSES)
    assert f"{num_tokens:,} (uint16)" in out
    assert "3 of " in out
    assert "1 empty documents" in out
    assert "packing: done" in err
    assert sorted(path.name for path in Path("tokens").iterdir()) == ["train.bin", "train.idx", "train.json"]

    code, out, err = run("inspect", "tokens/train", "--verify", "--seq-length", "16")
    assert code == 0
    assert f"samples                {-(-(num_tokens - 1) // 16)} of 16 tokens" in out
    assert "bytes, bytes-one" in out
    assert "verifying: done" in err

    code, out, _ = run("inspect", "tokens/train", "--sample", "0", "--tokenizer", "one", "--seq-length", "100")
    assert code == 0
    first, second = (len(verse.encode()) for verse in VERSES[:2])
    assert f"--- document 0, positions 0 to {first}\n{VERSES[0]} <end of document>" in out
    assert (
        f"--- document 1, positions 0 to {98 - first}\n{VERSES[1].encode()[: 99 - first].decode(errors='replace')}"
        in out
    )
    assert first + second > 100

    code, out, _ = run("inspect", "tokens/train", "--sample", "0", "--seq-length", str(10**6))
    shown = [int(word) for line in out.splitlines()[1:] if line[0].isdigit() for word in line.split(" <")[0].split()]
    assert shown == np.fromfile("tokens/train.bin", np.uint16).tolist()


def test_with_a_trained_tokenizer(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    train_tokenizer(VERSES * 20, Path("tokenizer"), 330)
    assert main(["data", "pack", "--input", "text.jsonl", "--tokenizer", "tokenizer", "--output", "t"]) == 0
    assert load_tokenizer(Path("tokenizer")).fingerprint in capsys.readouterr().out
    assert main(["data", "inspect", "t", "--tokenizer", "tokenizer", "--sample", "0"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n{verse} <end of document>" in shown for verse in VERSES)


def test_split_one_text(run: Run, tmp_path: Path) -> None:
    (tmp_path / "poems.txt").write_text("".join(VERSES * 40), encoding="utf-8")
    code, out, err = run(
        "split", "--input", "poems.txt", "--output", "out", "--piece-length", "60", "--validation-fraction", "0.1"
    )
    assert code == 0
    assert "texts were cut into pieces" in err
    num_train, num_validation = (int(line.split(": ")[1].split()[0]) for line in out.splitlines())
    assert [
        len(Path(f"out/{name}.jsonl").read_text(encoding="utf-8").splitlines()) for name in ("train", "validation")
    ] == [
        num_train,
        num_validation,
    ]
    assert num_validation == (num_train + num_validation) // 10 > 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pack", "--input", "none.txt", "--tokenizer", "one", "--output", "t"], "none.txt: no such file"),
        (["split", "--input", "none.txt", "--output", "t"], "none.txt: no such file"),
        (
            ["split", "--input", "text.jsonl", "--output", "t", "--validation-fraction", "2"],
            "validation fraction of 2.0",
        ),
        (["inspect", "nothing"], "nothing.json: no such file"),
        (["inspect", "tokens", "--tokenizer", "two"], "packed with the tokenizer bytes-one, but two is bytes-two"),
        (["inspect", "tokens", "--sample", "999"], "has no sample 999; its samples are 0 to 0"),
        (["inspect", "tokens", "--sample", "-1"], "has no sample -1"),
        (["inspect", "tokens", "--seq-length", "0"], "--seq-length 0: give 1 or more"),
    ],
)
def test_mistakes_are_explained(run: Run, text: Path, words: list[str], expected: str) -> None:
    run("pack", "--input", "text.jsonl", "--tokenizer", "one", "--output", "tokens")
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert expected in err


@pytest.mark.parametrize("action", [[], ["split"], ["pack"], ["inspect"]])
def test_help_has_examples(action: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["data", *action, "--help"])
    assert "pangu data " in capsys.readouterr().out.split("example")[-1]
