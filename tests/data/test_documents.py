from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pangu_alpha.data import count_bytes, read_texts
from pangu_alpha.errors import DataError


def jsonl(texts: list[str], ascii_only: bool = False) -> bytes:
    return "".join(json.dumps({"text": text}, ensure_ascii=ascii_only) + "\n" for text in texts).encode()


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(texts=st.lists(TEXT), ascii_only=st.booleans())
def test_any_text_survives_jsonl(texts: list[str], ascii_only: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plain, compressed = Path(folder) / "a.jsonl", Path(folder) / "b.jsonl.zst"
        plain.write_bytes(jsonl(texts, ascii_only))
        compressed.write_bytes(zstandard.compress(jsonl(texts, ascii_only)))
        assert list(read_texts([plain, compressed])) == [*texts, *texts]


def test_txt_is_one_document_with_its_line_ends(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + "子曰\r\n學而\n\n".encode())
    assert list(read_texts([tmp_path / "a.txt"])) == ["子曰\r\n學而\n\n"]


def test_directory_means_its_text_files_sorted(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".cache").mkdir()
    for name, text in {"b.txt": "乙", "a.txt": "甲", "sub/c.TXT": "丙", ".cache/d.txt": "丁", "e.md": "戊"}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert list(read_texts([tmp_path])) == ["甲", "乙", "丙"]


def test_linked_folders_are_read_and_circles_end(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "far").mkdir()
    (tmp_path / "text" / "a.txt").write_text("甲", encoding="utf-8")
    (tmp_path / "far" / "b.txt").write_text("乙", encoding="utf-8")
    (tmp_path / "text" / "far").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "back").symlink_to(tmp_path / "text")
    (tmp_path / "text" / ".#a.txt").symlink_to("user@host.77")  # an editor's lock
    assert list(read_texts([tmp_path / "text"])) == ["甲", "乙"]
    (tmp_path / "text" / "gone").symlink_to("nowhere")
    with pytest.raises(DataError, match="text/gone: cannot be read"):
        read_texts([tmp_path / "text"])


def test_what_two_links_lead_to_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "far" / "deep").mkdir(parents=True)
    (tmp_path / "far" / "b.txt").write_text("乙", encoding="utf-8")
    (tmp_path / "far" / "deep" / "c.txt").write_text("丙", encoding="utf-8")
    for name, place in (("one", "far"), ("two", "far"), ("deep", "far/deep"), ("b.txt", "far/b.txt")):
        (tmp_path / "text" / name).symlink_to(tmp_path / place)
    assert list(read_texts([tmp_path / "text"])) == ["乙", "丙"]
    (tmp_path / "text" / "a_name_of_no_text").symlink_to(tmp_path / "far" / "b.txt")  # comes first, and is not read
    assert list(read_texts([tmp_path / "text"])) == ["乙", "丙"]
    assert list(read_texts([tmp_path / "far", tmp_path / "far"])) == ["乙", "丙"] * 2  # as the user has said


READING = """
import os, sys
from pathlib import Path
from pangu_alpha.data import read_texts
from pangu_alpha.errors import DataError
os.setuid(65534)
try:
    print(list(read_texts([Path(sys.argv[1])])))
except DataError as error:
    print(error)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="needs a user who can become another one")
def test_a_folder_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "a.txt").write_text("甲", encoding="utf-8")
        (folder / "secret").mkdir(mode=0o700)
        (folder / "secret" / "b.txt").write_text("乙", encoding="utf-8")
        done = subprocess.run([sys.executable, "-c", READING, name], check=True, capture_output=True, encoding="utf-8")
    assert f"{folder}/secret: cannot be read: Permission denied" in done.stdout


def test_several_zstd_frames_and_long_lines(tmp_path: Path, chinese_documents: list[str]) -> None:
    texts = [*chinese_documents, "长" * 300_000, "尾"]
    frames = [zstandard.compress(jsonl([text])) for text in texts]
    (tmp_path / "a.jsonl.zst").write_bytes(b"".join(frames))
    assert list(read_texts([tmp_path / "a.jsonl.zst"])) == texts


def test_blank_lines_and_a_missing_last_line_end(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes('\n{"text": "甲"}\r\n\n{"text": "乙", "id": 2}'.encode())
    assert list(read_texts([tmp_path / "a.jsonl"])) == ["甲", "乙"]


def test_reading_streams_and_reports_every_byte(tmp_path: Path, chinese_documents: list[str]) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(chinese_documents * 2000))
    amounts: list[float] = []
    documents = read_texts([tmp_path], amounts.append)
    assert next(documents) == chinese_documents[0]
    assert sum(amounts) <= 1 << 16
    assert sum(1 for _ in documents) == len(chinese_documents) * 2000 - 1
    assert sum(amounts) == count_bytes([tmp_path])


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", b'{"text": "a"}\n{"text": "\xff"}', "line 2: not UTF-8: byte 0xff at offset 24"),
        ("a.txt", "学而".encode("gb18030"), "not UTF-8: byte 0xb6 at offset 2"),
        ("a.txt", "好".encode()[:2], "not UTF-8: byte 0xe5 at offset 0"),
        ("a.jsonl", b'{"text": "a"}\n{"text": ', "line 2: not JSON"),
        ("a.jsonl", b"[" * 100_000, "line 1: "),
        ("a.jsonl", b'{"content": "a"}', "line 1: no text"),
        ("a.jsonl", b'{"text": null}', "line 1: no text"),
        ("a.jsonl", b'["text"]', "line 1: no text"),
        ("a.jsonl", b'{"text": "\\ud83d!"}', r"line 1: the text holds \ud83d, half of a surrogate pair"),
        ("a.jsonl.zst", b"no zstd at all", "not a sound zstd file"),
        ("a.jsonl.zst", zstandard.compress(jsonl(["学而时习之"]))[:-1], "truncated"),
        ("a.jsonl.zst", zstandard.compress(jsonl(["学"])) + zstandard.compress(jsonl(["而"]))[:-4], "truncated"),
    ],
)
def test_bad_content_is_named(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(read_texts([tmp_path / name]))
    assert expected in str(caught.value)
    assert name in str(caught.value)


def test_bad_paths_are_named_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("甲", encoding="utf-8")
    (tmp_path / "a.csv").write_text("甲", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    for path, expected in [("b.txt", "no such file"), ("a.csv", "unknown kind of file"), ("empty", "no text in this")]:
        with pytest.raises(DataError, match=expected):
            read_texts([tmp_path / "a.txt", tmp_path / path])
