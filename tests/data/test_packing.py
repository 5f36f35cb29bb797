from __future__ import annotations

import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_alpha.data import TokenFile, open_token_file, pack
from pangu_alpha.data.packing import TokenWriter
from pangu_alpha.errors import DataError, LockError


class WideIds:
    """Ids are given directly; the size of the vocabulary decides the type."""

    codec, fingerprint, pad_id, eod_id = "wide", "wide-1", 0, 1

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        raise NotImplementedError


def write(prefix: Path, documents: list[list[int]], vocab_size: int) -> TokenFile:
    with TokenWriter(prefix, WideIds(vocab_size)) as writer:
        writer.add(documents)
        writer.finish()
    return open_token_file(prefix)


def test_text_comes_back(packed: TokenFile, byte_tokenizer: Any, chinese_documents: list[str]) -> None:
    ends = np.flatnonzero(packed.tokens == byte_tokenizer.eod_id)
    texts = [byte_tokenizer.decode(ids.tolist()) for ids in np.split(packed.tokens, ends + 1)[:-1]]
    assert texts == chinese_documents


@given(st.data(), st.sampled_from([300, 65536, 65537]))
def test_no_id_is_lost(data: st.DataObject, vocab_size: int) -> None:
    document = st.lists(st.integers(2, vocab_size - 1), max_size=40)
    parts = data.draw(st.lists(st.lists(document, max_size=5), max_size=4))
    full = [ids for part in parts for ids in part if ids]
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder) / "tokens"
        with TokenWriter(prefix, WideIds(vocab_size)) as writer:
            for part in parts:
                writer.add(part)
            if not full:
                with pytest.raises(DataError, match="nothing to pack"):
                    writer.finish()
                return
            info = writer.finish()
        file = open_token_file(prefix)
        assert file.tokens.tolist() == [token for ids in full for token in [*ids, 1]]
        assert file.tokens.dtype == ("uint16" if vocab_size <= 65536 else "int32")
        assert (info.num_documents, info.num_empty_documents) == (len(full), sum(map(len, parts)) - len(full))


@pytest.mark.parametrize(("vocab_size", "code", "letter"), [(65536, 8, "H"), (65537, 4, "i")])
def test_bytes_are_megatrons(tmp_path: Path, vocab_size: int, code: int, letter: str) -> None:
    write(tmp_path / "tokens", [[5, vocab_size - 1], [7], [9, 9, 9]], vocab_size)
    ids = [5, vocab_size - 1, 1, 7, 1, 9, 9, 9, 1]
    assert (tmp_path / "tokens.bin").read_bytes() == struct.pack(f"<9{letter}", *ids)
    size = struct.calcsize(letter)
    expected = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, code, 3, 4)
    expected += struct.pack("<3i", 3, 2, 4) + struct.pack("<3q", 0, 3 * size, 5 * size) + struct.pack("<4q", 0, 1, 2, 3)
    assert (tmp_path / "tokens.idx").read_bytes() == expected


@pytest.mark.parametrize("bad", [-1, 300, 0, 1])
def test_ids_that_would_be_misread_are_refused(tmp_path: Path, bad: int) -> None:
    with pytest.raises(DataError, match=rf"document 1 .*gave the id {bad},"):
        write(tmp_path / "tokens", [[5, 6], [7, bad, 8]], 300)
    assert not list(tmp_path.iterdir())


def test_index_longer_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [[5] * (1 + i % 3) for i in range(25)]
    write(tmp_path / "whole", documents, 300)
    monkeypatch.setattr("pangu_alpha.data.packing._BLOCK", 4)
    write(tmp_path / "blocks", documents, 300)
    assert (tmp_path / "whole.idx").read_bytes() == (tmp_path / "blocks.idx").read_bytes()


def test_empty_documents_are_counted(tmp_path: Path, byte_tokenizer: Any) -> None:
    assert pack(["", "学", ""], byte_tokenizer, tmp_path / "tokens").num_empty_documents == 2
    with pytest.raises(DataError, match=r"nothing to pack.*\(2 empty ones\)"):
        pack(["", ""], byte_tokenizer, tmp_path / "none")
    assert not list(tmp_path.glob("none*"))


def test_failure_keeps_the_older_file(packed: TokenFile, byte_tokenizer: Any) -> None:
    def failing() -> Iterator[str]:
        yield "新" * 2_000_000
        raise DataError("line 7 is damaged")

    before = {path: path.read_bytes() for path in packed.prefix.parent.iterdir()}
    with pytest.raises(DataError, match="line 7"):
        pack(failing(), byte_tokenizer, packed.prefix)
    assert {path: path.read_bytes() for path in packed.prefix.parent.iterdir()} == before


def test_packing_again_gives_the_same_bytes(
    packed: TokenFile, make_byte_tokenizer: Callable[..., Any], chinese_documents: list[str]
) -> None:
    before = {path: path.read_bytes() for path in packed.prefix.parent.iterdir()}
    pack(chinese_documents, make_byte_tokenizer(), packed.prefix)
    assert {path: path.read_bytes() for path in packed.prefix.parent.iterdir()} == before


KILLED = """
import sys
from pathlib import Path
from pangu_alpha.data import pack

class Tokenizer:
    codec, fingerprint, vocab_size, pad_id, eod_id = "bytes", "bytes-1", 259, 0, 1
    def encode_batch(self, texts):
        return [[3 + byte for byte in text.encode()] for text in texts]

def endless():
    while True:
        yield "学而时习之" * 1000
        print("on", flush=True)

pack(endless(), Tokenizer(), Path(sys.argv[1]))
"""


def test_killed_packing_leaves_nothing_readable(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "t")], stdout=subprocess.PIPE) as process:
        assert process.stdout
        for _ in range(3000):  # Enough documents for several writes.
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "t.bin").exists()
    with pytest.raises(DataError, match="no complete token file"):
        open_token_file(tmp_path / "t")


def test_what_a_killed_packing_left_is_removed_by_the_next(tmp_path: Path, byte_tokenizer: Any) -> None:
    (tmp_path / "t.bin").touch()  # of another name: `t.bin.bin` is not ours
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "t")], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.iterdir())) == 4
    pack(["学"], byte_tokenizer, tmp_path / "t")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.bin", "t.idx", "t.json"]


def test_two_packings_of_one_prefix_do_not_meet(tmp_path: Path, byte_tokenizer: Any) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "t")], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(LockError, match=rf"token file {tmp_path}/t is in use by process {process.pid} on"):
            pack(["学"], byte_tokenizer, tmp_path / "t")
        pack(["学"], byte_tokenizer, tmp_path / "u")
        assert process.poll() is None
        process.kill()


def test_unwritable_place(tmp_path: Path, byte_tokenizer: Any) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        pack(["学"], byte_tokenizer, tmp_path / "file" / "tokens")
