from __future__ import annotations

import json
import shutil
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pangu_alpha.data import TokenFile, open_token_file, pack
from pangu_alpha.data.token_file import info_to_json, with_ending
from pangu_alpha.errors import DataError

ENDINGS = (".bin", ".idx", ".json")
damaging = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def copy_of(file: TokenFile, folder: str) -> Path:
    for ending in ENDINGS:
        shutil.copy(with_ending(file.prefix, ending), folder)
    return Path(folder) / file.prefix.name


def assert_refused_or_same(prefix: Path, original: TokenFile) -> None:
    # A changed space in the .json changes nothing that is read; everything else must be refused.
    try:
        found = open_token_file(prefix)
    except DataError as error:
        assert str(prefix) in str(error)
    else:
        assert found.info == original.info
        assert np.array_equal(found.tokens, original.tokens)


@damaging
@given(data=st.data(), ending=st.sampled_from(ENDINGS), change=st.integers(1, 255))
def test_a_changed_byte_is_never_read(packed: TokenFile, data: st.DataObject, ending: str, change: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        prefix = copy_of(packed, folder)
        content = bytearray(with_ending(prefix, ending).read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= change
        with_ending(prefix, ending).write_bytes(content)
        if ending == ".json":
            assert_refused_or_same(prefix, packed)
        else:
            with pytest.raises(DataError, match=ending):
                open_token_file(prefix)


@damaging
@given(data=st.data(), ending=st.sampled_from(ENDINGS), extra=st.binary(max_size=8))
def test_a_changed_length_is_never_read(packed: TokenFile, data: st.DataObject, ending: str, extra: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        prefix = copy_of(packed, folder)
        content = with_ending(prefix, ending).read_bytes()
        length = data.draw(st.integers(0, len(content) - 1))
        with_ending(prefix, ending).write_bytes(content + extra if extra else content[:length])
        assert_refused_or_same(prefix, packed)
        if ending != ".json":
            with pytest.raises(DataError, match="too long" if extra else "truncated"):
                open_token_file(prefix)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_missing_file_is_named(packed: TokenFile, ending: str) -> None:
    with_ending(packed.prefix, ending).unlink()
    with pytest.raises(DataError, match=rf"packed\{ending}: no such file"):
        open_token_file(packed.prefix)


def test_a_path_with_ending_is_explained(packed: TokenFile) -> None:
    with pytest.raises(DataError, match="Give the path without its ending"):
        open_token_file(with_ending(packed.prefix, ".bin"))


@pytest.mark.parametrize(
    ("field", "value"),
    [("dtype", "int64"), ("version", 2), ("format", "other"), ("num_tokens", "12"), ("num_tokens", 0), ("colour", 1)],
)
def test_description_of_another_kind(packed: TokenFile, field: str, value: Any) -> None:
    path = with_ending(packed.prefix, ".json")
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), field: value}), encoding="utf-8")
    with pytest.raises(DataError, match=field):
        open_token_file(packed.prefix)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"{}", b"\xff", b"[" * 100_000])
def test_description_that_is_none(packed: TokenFile, content: bytes) -> None:
    with_ending(packed.prefix, ".json").write_bytes(content)
    with pytest.raises(DataError, match="not the description of a token file"):
        open_token_file(packed.prefix)


@pytest.mark.parametrize("offset, name", [(0, "magic"), (9, "version"), (17, "type code"), (18, "sequences")])
def test_header_of_another_kind(packed: TokenFile, offset: int, name: str) -> None:
    path = with_ending(packed.prefix, ".idx")
    content = bytearray(path.read_bytes())
    content[offset] += 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=name):
        open_token_file(packed.prefix)


def test_another_type_has_another_size(packed: TokenFile) -> None:
    wrong = packed.info.model_copy(update={"dtype": "int32"})
    with_ending(packed.prefix, ".json").write_text(info_to_json(wrong), encoding="utf-8")
    with pytest.raises(DataError, match="of int32 take"):
        open_token_file(packed.prefix)


def test_an_id_outside_the_vocabulary(packed: TokenFile) -> None:
    smaller = packed.info.model_copy(update={"vocab_size": 200})
    with_ending(packed.prefix, ".json").write_text(info_to_json(smaller), encoding="utf-8")
    with pytest.raises(DataError, match=r"id 242 at token 18 is outside the vocabulary of 200"):
        open_token_file(packed.prefix)


def test_large_files_are_sampled_and_verified(
    tmp_path: Path, byte_tokenizer: Any, chinese_documents: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pangu_alpha.data.token_file.FULL_CHECK_BYTES", 0)
    pack(chinese_documents * 20, byte_tokenizer, tmp_path / "t")
    path = tmp_path / "t.bin"
    content = path.read_bytes()

    def with_id(place: int, value: int) -> None:
        path.write_bytes(content[: 2 * place] + struct.pack("<H", value) + content[2 * place + 2 :])

    with_id(5000, 300)
    with pytest.raises(DataError, match="id 300 at token 5,000 is outside the vocabulary of 259"):
        open_token_file(tmp_path / "t")
    with_id(5000, 17)  # A plausible id: only the checksum tells.
    file = open_token_file(tmp_path / "t")
    with pytest.raises(DataError, match="wrong checksum"):
        file.verify(lambda _: None)
    with_id(len(content) // 2 - 1, 17)
    with pytest.raises(DataError, match="not the end of a document"):
        open_token_file(tmp_path / "t")
    path.write_bytes(content)
    amounts: list[float] = []
    open_token_file(tmp_path / "t").verify(amounts.append)
    assert sum(amounts) == path.stat().st_size + (tmp_path / "t.idx").stat().st_size


def test_verify_counts_the_documents(packed: TokenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = packed.info.model_copy(update={"eod_id": 3 + "。".encode()[0]})
    with pytest.raises(DataError, match=r"end-of-document ids \(230\) for 5 documents"):
        TokenFile(packed.prefix, wrong, packed.tokens).verify(lambda _: None)
