from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pangu_alpha.cli.main import main
from pangu_alpha.tokenizer import load_tokenizer

ESSAY = (
    "曲曲折折的荷塘上面，弥望的是田田的叶子。叶子出水很高，像亭亭的舞女的裙。层层的叶子中间，"
    "零星地点缀着些白花，有袅娜地开着的，有羞涩地打着朵儿的；正如一粒粒的明珠，又如碧天里的星星，又如刚出浴的美人。\n"
    "微风过处，送来缕缕清香，仿佛远处高楼上渺茫的歌声似的。\n"
)
ODD = "甲\t乙\r\n\0▁ ▁<eod><0x41>▂▃😀𠮷\n\n\n"


@pytest.fixture(scope="module")
def essay_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "essay.txt").write_text(ESSAY)
    code = main(
        [
            "tokenizer",
            "train",
            "--input",
            str(folder / "essay.txt"),
            "--output",
            str(folder / "t"),
            "--vocab-size",
            "370",
        ]
    )
    assert code == 0
    return folder / "t"


def test_train_reads_all_kinds_of_files_and_says_what_it_used(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text(ESSAY)
    (tmp_path / "in" / "b.jsonl").write_text(
        json.dumps({"text": "第二篇文章。"}) + "\n" + json.dumps({"text": ODD}) + "\n"
    )
    words = [
        "tokenizer",
        "train",
        "--input",
        str(tmp_path / "in"),
        "--output",
        str(tmp_path / "t"),
        "--vocab-size",
        "380",
    ]
    assert main(words) == 0
    out, err = capfd.readouterr()
    assert out == f"{tmp_path / 't'}\n"
    assert "of 3 documents" in err
    assert "peak memory" in err
    assert "trainer_interface" not in err
    assert load_tokenizer(tmp_path / "t").vocab_size == 380


@pytest.mark.parametrize("text", [ODD, ESSAY, "", "没有换行"])
def test_encode_and_decode_through_pipes_are_exact_in_any_locale(essay_tokenizer: Path, text: str) -> None:
    def pangu(action: str, content: bytes) -> bytes:
        command = [
            sys.executable,
            "-m",
            "pangu_alpha.cli.main",
            "tokenizer",
            action,
            "--tokenizer",
            str(essay_tokenizer),
        ]
        environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        return subprocess.run(command, input=content, capture_output=True, check=True, env=environment).stdout

    ids = pangu("encode", text.encode())
    assert [int(word) for word in ids.split()] == load_tokenizer(essay_tokenizer).encode(text)
    assert pangu("decode", ids) == text.encode()


def test_texts_and_ids_as_words(essay_tokenizer: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    tokenizer = load_tokenizer(essay_tokenizer)
    assert main(["tokenizer", "encode", "--tokenizer", str(essay_tokenizer), "荷塘", "<eod>"]) == 0
    lines = capsysbinary.readouterr().out.decode().splitlines()
    assert [[int(word) for word in line.split()] for line in lines] == [
        tokenizer.encode("荷塘"),
        tokenizer.encode("<eod>"),
    ]
    assert main(["tokenizer", "decode", "--tokenizer", str(essay_tokenizer), *lines[0].split(), "2"]) == 0
    assert capsysbinary.readouterr().out == "荷塘".encode()


def test_inspect(essay_tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": ESSAY}) + "\n" + json.dumps({"text": ODD}) + "\n")
    assert (
        main(["tokenizer", "inspect", "--tokenizer", str(essay_tokenizer), "--input", str(tmp_path / "a.jsonl")]) == 0
    )
    out = capsys.readouterr().out
    tokenizer = load_tokenizer(essay_tokenizer)
    num_tokens = sum(map(len, tokenizer.encode_batch([ESSAY, ODD])))
    assert tokenizer.fingerprint in out
    assert "<unk> 0, <pad> 1, <eod> 2, <eot> 3" in out
    assert f"= {len(ESSAY + ODD):,} ÷ {num_tokens:,}\n" in out
    assert "2 of 2 documents" in out


def test_inspect_tells_of_a_round_trip_that_loses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = os.environ.get("PANGU_ALPHA_TEST_DATA", Path(__file__).parents[2].parent / "shared/data")
    released = Path(folder) / "pangu_alpha_vocab.model"
    if not released.exists():
        pytest.skip(f"the released vocab.model is not at {released}; PANGU_ALPHA_TEST_DATA names another folder")
    (tmp_path / "a.txt").write_text("荷塘，①")
    assert main(["tokenizer", "inspect", "--tokenizer", str(released), "--input", str(tmp_path / "a.txt")]) == 0
    assert "0 of 1 documents" in capsys.readouterr().out


def test_wrong_input_is_one_sentence_and_exit_code_2(
    essay_tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(words: list[str], message: str) -> None:
        assert main(["tokenizer", *words]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert message in err.splitlines()[-1]

    use = ["--tokenizer", str(essay_tokenizer)]
    output = ["--output", str(tmp_path / "t"), "--vocab-size", "370"]
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    fails(["decode", *use, "12", "x1"], "not a list of ids")
    fails(["decode", *use, "370"], "id 370 is not in this tokenizer's vocabulary of 370 pieces")
    fails(["encode", *use, "\udcff"], "surrogate")
    fails(["encode", "--tokenizer", str(tmp_path / "nowhere"), "a"], "no such tokenizer")
    fails(["inspect", *use, "--input", str(empty)], "without any text")
    fails(["inspect", *use, "--input", str(tmp_path / "none.txt")], "none.txt")
    fails(["train", "--input", str(tmp_path / "none.txt"), *output], "none.txt")
    fails(["train", "--input", str(empty), *output], "no text to learn from")
    fails(["train", "--input", str(empty), "--output", str(essay_tokenizer), "--vocab-size", "9"], "exists already")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"abc\xff")))
    fails(["encode", *use], "stdin is not UTF-8: byte 0xff at offset 3")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.txt"]


def test_using_a_tokenizer_starts_at_once(essay_tokenizer: Path) -> None:
    code = (
        "import sys; from pangu_alpha.cli.main import main; "
        f"main(['tokenizer', 'encode', '--tokenizer', {str(essay_tokenizer)!r}, '荷塘']); "
        "print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split()
    assert not {"numpy", "jieba", "pydantic", "rich", "mindspore"} & set(loaded)
