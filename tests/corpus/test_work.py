"""Results of tasks: whole or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pangu_alpha.corpus.plan_file import begin, make_plan, read_work
from pangu_alpha.corpus.recipe import Recipe
from pangu_alpha.corpus.work import Work, of_piece, save, write_result
from pangu_alpha.errors import ConfigError, CorpusError


def test_a_result_that_is_cut_off_is_noticed(tmp_path: Path) -> None:
    # A published pipeline takes half-written signatures for whole ones.
    work = Work(tmp_path, Recipe(), ())

    def write(folder: Path) -> dict[str, int]:
        save(folder / "bands.npy", np.arange(100))
        return {"documents": 100}

    write_result(work.result("clean", 0), write)
    assert work.is_done("clean", 0) and work.counts("clean", 0) == {"documents": 100}
    bands = work.result("clean", 0) / "bands.npy"
    bands.write_bytes(bands.read_bytes()[:-8])
    with pytest.raises(CorpusError, match=r"bands\.npy has 920 bytes and not 928"):
        work.counts("clean", 0)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "[" * 100_000, '{"recipe": {}, "pieces": 5}', '{"recipe": 5, "pieces": []}'],
    ids=["empty", "list", "nothing", "nested", "no pieces", "no recipe"],
)
def test_a_plan_that_is_damaged_is_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(ConfigError, match=r"plan\.json is damaged .*choose another --output"):
        begin(tmp_path, make_plan(Recipe(), []))


@pytest.mark.parametrize("text", ['{"recipe": {}, "pieces": [1]}', '{"recipe": {"seed": []}, "pieces": []}'])
def test_so_it_is_for_who_reads_it_later(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(ConfigError, match=r"plan\.json is damaged .*choose another --output"):
        read_work(tmp_path)


def test_a_result_that_fails_is_not_there(tmp_path: Path) -> None:
    work = Work(tmp_path, Recipe(), ())

    def write(folder: Path) -> dict[str, int]:
        save(folder / "bands.npy", np.arange(100))
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_result(work.result("clean", 0), write)
    assert not work.is_done("clean", 0) and list(work.stage("clean").iterdir()) == []


def test_a_result_that_another_has_written_meanwhile_is_as_good(tmp_path: Path) -> None:
    work = Work(tmp_path, Recipe(), ())

    def write_quickly(folder: Path) -> dict[str, int]:
        save(folder / "bands.npy", np.arange(100))
        return {"documents": 100}

    def write(folder: Path) -> dict[str, int]:
        write_result(tmp_path / "elsewhere", write_quickly)
        (tmp_path / "elsewhere").rename(work.result("clean", 0))
        return write_quickly(folder)

    write_result(work.result("clean", 0), write)
    assert work.counts("clean", 0) == {"documents": 100} and len(list(work.stage("clean").iterdir())) == 1


def test_documents_of_a_piece_are_found_among_all() -> None:
    numbers = np.array([1, 5, (1 << 32) + 2, (1 << 32) + 3, 3 << 32], np.uint64)
    assert [numbers[of_piece(piece, numbers)].tolist() for piece in (0, 2, 3)] == [[1, 5], [], [3 << 32]]
