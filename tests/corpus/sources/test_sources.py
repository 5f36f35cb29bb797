"""Documents come out of every format, as they went in, and once each however the files are cut."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from tests.conftest import CHUSHIBIAO, SANGUO
from tests.corpus.conftest import chinese_text, write_jsonl

from pangu_alpha.corpus.sources import plan_pieces, read_piece
from pangu_alpha.corpus.sources.text_of import decode, nesting, text_of
from pangu_alpha.errors import DataError

TRADITIONAL = "話說天下大勢，分久必合，合久必分。周末七國分爭，併入於秦；及秦滅之後，楚、漢分爭，又併入於漢。"


def texts(path: Path, piece_bytes: int = 1 << 20, fields: tuple[str, ...] = ("text",)) -> list[str]:
    """The text of each document, or its problem."""
    found = []
    for piece in plan_pieces([("web", path)], ["web"], piece_bytes):
        for stored in read_piece(piece, 100_000, fields):
            text = text_of(stored, fields, 1000)
            found.append(text.problem or text.text)
    return found


def page(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    http = "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + body
    lines = (
        "WARC/1.0",
        "WARC-Type: response",
        "WARC-Target-URI: http://example.com/",
        "WARC-Date: 2020-01-01T00:00:00Z",
    )
    head = [*lines, "Content-Type: application/http; msgtype=response", f"Content-Length: {len(http)}", "", ""]
    return "\r\n".join(head).encode() + http + b"\r\n\r\n"


@pytest.mark.parametrize("piece_bytes", [1000, 1777, 5000, 1 << 20])
def test_lines_come_out_once_wherever_a_file_is_cut(tmp_path: Path, piece_bytes: int) -> None:
    expected = [chinese_text(seed, 2 + seed % 7) for seed in range(40)]
    path = write_jsonl(tmp_path / "a.jsonl", expected)
    assert texts(path, piece_bytes) == expected


def test_compressed_lines_and_parquet(tmp_path: Path) -> None:
    expected = [chinese_text(seed) for seed in range(9)]
    data = write_jsonl(tmp_path / "a.jsonl", expected).read_bytes()
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(data[:2000]) + gzip.compress(data[2000:]))
    (tmp_path / "c.jsonl.zst").write_bytes(zstandard.compress(data))
    table = pyarrow.table({"title": ["题"] * 9, "text": expected, "label": [1] * 9})
    pyarrow.parquet.write_table(table, tmp_path / "d.parquet", row_group_size=2)
    for name in ("b.jsonl.gz", "c.jsonl.zst", "d.parquet"):
        assert texts(tmp_path / name) == expected
    assert texts(tmp_path / "d.parquet", 1000, ("title", "text")) == [f"题\n{text}" for text in expected]
    assert texts(tmp_path / "d.parquet", 1000, ("body",)) == ["no_text_field"] * 9


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_all_lines_before_the_damage_of_a_compressed_file_come_out(tmp_path: Path, ending: str) -> None:
    lines = write_jsonl(tmp_path / "a.jsonl", [chinese_text(seed) for seed in range(800)]).read_bytes().splitlines(True)
    data = b"".join(lines)
    whole = gzip.compress(data) if ending == "gz" else zstandard.compress(data)
    path = tmp_path / f"cut.jsonl.{ending}"
    expected = [json.loads(line)["text"] for line in lines]
    for size in (len(whole) * 9 // 10, len(whole) // 3, 5, len(whole) - 1):
        path.write_bytes(whole[:size])
        # What a lenient decompressor makes of the rest, put together here otherwise.
        decompressor = zlib.decompressobj(31) if ending == "gz" else zstandard.ZstdDecompressor().decompressobj()
        found = texts(path)
        readable = decompressor.decompress(whole[:size]).count(b"\n")
        assert found == [*expected[:readable], "damaged_file"]
    damaged = bytearray(whole)
    damaged[len(whole) // 2 : len(whole) // 2 + 40] = b"\xff" * 40
    path.write_bytes(damaged)
    *before, last = texts(path)
    assert (
        last == "damaged_file" and before[:300] == expected[:300]
    )  # only the checksum at the end tells damage of gzip


def test_a_damaged_parquet_file_is_named_and_stops_nothing(tmp_path: Path) -> None:
    text = chinese_text(1)
    pyarrow.parquet.write_table(pyarrow.table({"text": [text] * 9}), tmp_path / "b.parquet")
    whole = (tmp_path / "b.parquet").read_bytes()
    write_jsonl(tmp_path / "c.jsonl", [text])
    for content in (b"", whole[:50], whole[:-9], whole[:-100] + b"\xff" * 92 + whole[-8:]):
        (tmp_path / "a.parquet").write_bytes(content)
        assert texts(tmp_path) == ["damaged_file", *[text] * 10]


def test_an_empty_file_is_an_empty_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    (tmp_path / "b.html").touch()
    (tmp_path / "c.txt").write_text(SANGUO, encoding="utf-8")
    assert texts(tmp_path) == ["", "", SANGUO.strip()]
    with pytest.raises(DataError, match="nothing to read: no byte in "):
        texts(tmp_path / "a.txt")
    (tmp_path / "d.jsonl").touch()
    with pytest.raises(DataError, match=r"nothing to read: no byte in .*d\.jsonl"):
        texts(tmp_path / "d.jsonl")


def test_json_lines_in_utf_16_are_named_once(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"text": chinese_text(seed)}, ensure_ascii=False) + "\n" for seed in range(9))
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-16")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode("utf-16")))
    assert texts(tmp_path / "a.jsonl", 1000) == texts(tmp_path / "b.jsonl.gz") == ["utf_16"]


def test_web_archives(tmp_path: Path) -> None:
    html = f"<html><body><nav><a href='/'>首页</a></nav><article><p>{SANGUO}</p></article></body></html>"
    html_type = "Content-Type: text/html; charset=utf-8"
    records = [
        page(html.encode(), html_type),
        page(gzip.compress(html.encode()), html_type, "Content-Encoding: gzip"),
        page(html.encode("gb18030"), "Content-Type: text/html; charset=gb2312"),
        page(b"\x89PNG", "Content-Type: image/png"),
        page(html.encode(), html_type, status="404 Not Found"),
        page(gzip.compress(b"0" * 50_000_000), html_type, "Content-Encoding: gzip"),
        page(b"\x1f\x8b\x08garbage", html_type, "Content-Encoding: gzip"),
        page(html.encode(), html_type, "Content-Encoding: br"),
    ]
    expected = [SANGUO.strip()] * 3
    expected += ["no_text", "no_page", "too_large", "damaged_compression", "unknown_compression"]
    (tmp_path / "a.warc").write_bytes(b"".join(records))
    (tmp_path / "b.warc.gz").write_bytes(b"".join(gzip.compress(record) for record in records))
    for name in ("a.warc", "b.warc.gz"):
        assert texts(tmp_path / name) == expected
    whole = (tmp_path / "b.warc.gz").read_bytes()
    (tmp_path / "cut.warc.gz").write_bytes(whole[: len(gzip.compress(records[0])) + 100])
    assert texts(tmp_path / "cut.warc.gz") == [SANGUO.strip(), "damaged_file"]


@pytest.mark.parametrize(
    ("encoding", "text"), [("gb18030", SANGUO), ("big5", TRADITIONAL), ("utf-16", SANGUO), ("utf-8-sig", CHUSHIBIAO)]
)
def test_encodings_are_detected_and_said(encoding: str, text: str) -> None:
    found, name = decode(text.encode(encoding))
    assert found == text and name == {"utf-16": "utf-16-le", "utf-8-sig": "utf-8"}.get(encoding, encoding)


def test_broken_utf_8_is_mended_and_said() -> None:
    data = SANGUO.encode()
    found, name = decode(data[:60] + b"\xff" + data[60:])
    assert name == "utf-8 (broken)" and found.replace("\ufffd", "") == SANGUO


def test_json_fields_labels_and_half_pairs(tmp_path: Path) -> None:
    lines = [json.dumps({"question": "问？", "label": "正", "answer": "答。"}), '{"question": "\\ud800问"}', "[1]", ""]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert texts(tmp_path / "a.jsonl", fields=("question", "answer")) == ["问？\n答。", "?问", "no_text_field"]


def test_nesting_counts_what_is_open() -> None:
    assert nesting("<div><p>a<p>b<br><img src='x'><li>c<span>d</span></div>" * 9) == 2
    assert nesting("<div>" * 5000) == 5000


def test_no_encoding_hides_how_deep_a_page_is(tmp_path: Path) -> None:
    (tmp_path / "deep.html").write_bytes(("<div>" * 2000 + SANGUO).encode("utf-16"))
    assert texts(tmp_path / "deep.html") == ["html_too_deep"]
