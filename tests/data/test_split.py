from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_alpha.data import count_bytes, read_texts
from pangu_alpha.data.split import cut, split_documents
from pangu_alpha.errors import DataError


def write_lines(path: Path, texts: list[str]) -> Path:
    lines = [json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts]
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
    return path


def test_every_nth_document_is_held_out(tmp_path: Path, chinese_documents: list[str]) -> None:
    texts = [f"{number}：{text}\r\n" for number, text in enumerate(chinese_documents * 9)]
    source = write_lines(tmp_path / "a.jsonl", [*texts[:3], "", *texts[3:]])
    amounts: list[float] = []
    counts = split_documents([source], tmp_path / "out", 0.1, advance=amounts.append)
    assert counts == (41, 4, False)
    assert list(read_texts([tmp_path / "out" / "validation.jsonl"])) == texts[9::10]
    assert list(read_texts([tmp_path / "out" / "train.jsonl"])) == [t for i, t in enumerate(texts) if i % 10 != 9]
    assert sum(amounts) == count_bytes([source])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["train.jsonl", "validation.jsonl"]


def test_one_long_text_is_cut_and_again_gives_the_same(tmp_path: Path, chinese_documents: list[str]) -> None:
    novel = "".join(f"第{number}回\n{text}\n" for number, text in enumerate(chinese_documents * 12))
    (tmp_path / "novel.txt").write_text(novel, encoding="utf-8")
    counts = split_documents([tmp_path / "novel.txt"], tmp_path / "out", 0.2, piece_length=200)
    assert counts.were_cut
    train, validation = (tmp_path / "out" / f"{name}.jsonl" for name in ("train", "validation"))
    before = train.read_bytes(), validation.read_bytes()
    rest, held_out = read_texts([train]), read_texts([validation])
    total = counts.num_train + counts.num_validation
    pieces = [next(held_out) if number % 5 == 4 else next(rest) for number in range(total)]
    assert "".join(pieces) == novel
    assert all(piece.endswith("\n") for piece in pieces)
    split_documents([tmp_path / "novel.txt"], tmp_path / "out", 0.2, piece_length=200)
    assert before == (train.read_bytes(), validation.read_bytes())


@given(st.text("学而时习。！\n", max_size=300), st.integers(1, 40))
def test_pieces_join_to_the_text(text: str, piece_length: int) -> None:
    pieces = list(cut(text, piece_length))
    assert "".join(pieces) == text
    assert all(piece_length <= len(piece) <= 2 * piece_length for piece in pieces[:-1])
    assert len(pieces[-1]) <= 2 * piece_length


def test_where_a_text_is_cut() -> None:
    assert list(cut("一二。三四\n五六七八", 4)) == ["一二。三四\n", "五六七八"]
    assert list(cut("一二三四五。六七八九", 4)) == ["一二三四五。", "六七八九"]
    assert list(cut("一二三四五六七八九十", 4)) == ["一二三四五六七八", "九十"]
    assert list(cut("一二三\n四五六七八九", 4)) == ["一二三\n", "四五六七八九"]


def test_wrong_input_leaves_nothing(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "a.jsonl", ["子曰：學而時習之"])
    with pytest.raises(DataError, match="only 1 documents or pieces of text, too few to hold out every 20th"):
        split_documents([source], tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    for fraction in (0.0, 0.6, -1.0, float("nan")):
        with pytest.raises(DataError, match="validation fraction"):
            split_documents([source], tmp_path / "out", fraction)
    with pytest.raises(DataError, match="pieces of 0 characters"):
        split_documents([source], tmp_path / "out", 0.5, piece_length=0)


def test_failure_keeps_the_older_files(tmp_path: Path, chinese_documents: list[str]) -> None:
    source = write_lines(tmp_path / "a.jsonl", chinese_documents)
    split_documents([source], tmp_path / "out", 0.5)
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with source.open("ab") as file:
        file.write(b"no json\n")
    with pytest.raises(DataError, match="line 6: not JSON"):
        split_documents([source], tmp_path / "out", 0.5)
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_reading_its_own_output_is_refused(tmp_path: Path, chinese_documents: list[str]) -> None:
    write_lines(tmp_path / "a.jsonl", chinese_documents)
    split_documents([tmp_path], tmp_path, 0.5)
    with pytest.raises(DataError, match=r"train\.jsonl: would be read and replaced at once"):
        split_documents([tmp_path], tmp_path, 0.5)


@pytest.mark.parametrize("num_documents", [30, 3])
def test_what_a_line_says_besides_its_text_stays_with_it(tmp_path: Path, num_documents: int) -> None:
    lines = [{"text": f"第{number}篇。\n" * 100, "source": number, "时": [1]} for number in range(num_documents)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    split_documents([tmp_path / "in.jsonl"], tmp_path / "out", validation_fraction=0.1, piece_length=20)
    written = [
        json.loads(line)
        for name in ("train", "validation")
        for line in (tmp_path / "out" / f"{name}.jsonl").read_text().splitlines()
    ]
    assert len(written) >= num_documents
    assert all(f"第{line['source']}篇" in line["text"] and line["时"] == [1] for line in written)


def test_fields_that_utf_8_or_json_do_not_have_are_kept_readable(tmp_path: Path) -> None:
    lines = [f'{{"text": "第{number}篇", "title": "\\ud800", "score": NaN}}\n' for number in range(20)]
    (tmp_path / "in.jsonl").write_text("".join(lines))
    split_documents([tmp_path / "in.jsonl"], tmp_path / "out", validation_fraction=0.1)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    for line in (tmp_path / "out" / "train.jsonl").read_text(encoding="utf-8").splitlines():
        fields = json.loads(line, parse_constant=refuse)
        assert (fields["title"], fields["score"]) == ("\ud800", None)
