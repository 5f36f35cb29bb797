"""Which ranks the process of `pangu train` writes records of."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from pangu_alpha.cli import train
from pangu_alpha.cluster.watching.heartbeat import read_heartbeats
from pangu_alpha.errors import ConfigError


@pytest.mark.parametrize(
    ("environment", "ranks"),
    [
        ({}, [0]),
        ({"RANK_ID": "3", "MS_ROLE": "MS_WORKER", "MS_WORKER_NUM": "4"}, [3]),
        ({"MS_ROLE": "MS_SCHED", "MS_WORKER_NUM": "4"}, []),
        ({"RANK_ID": "0", "MS_ROLE": "MS_SCHED", "MS_WORKER_NUM": "4"}, []),
        ({"MS_ROLE": "MS_WORKER", "MS_WORKER_NUM": "4"}, []),
    ],
)
def test_only_a_rank_writes_a_record(
    environment: dict[str, str], ranks: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK_ID", "MS_ROLE", "MS_WORKER_NUM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(train, "_train", lambda *_: None)
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    workers = f"parallel.dp={environment.get('MS_WORKER_NUM', 1)}"
    train.run(parser.parse_args(["tiny_cpu", f"output={tmp_path}", workers]))
    assert list(read_heartbeats(tmp_path)) == ranks


def test_the_launchers_planned_seconds_are_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They were found on the servers of a rank table, which the ranks of other servers do not have."""
    seen = []
    monkeypatch.setattr(train, "_train", lambda *words: seen.append(words[-1]))
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    words = ["tiny_cpu", f"output={tmp_path}", "--hardware", "910a"]
    for more in ([], ["--planned-seconds", "2.5"]):
        train.run(parser.parse_args([*words, *more]))
    assert seen[0] != seen[1] == 2.5
    for wrong in ("0", "nan", "inf"):
        with pytest.raises(ConfigError, match=f"--planned-seconds {wrong}: give a number above 0"):
            train.run(parser.parse_args([*words, "--planned-seconds", wrong]))


@pytest.mark.parametrize(
    "words", [["--mesh", "dp=2,dp=3", "tiny_cpu"], ["--mesh", "mp=1,dp=2", "tiny_cpu", "parallel.dp=4"]]
)
def test_an_axis_that_is_given_twice_is_refused(words: list[str]) -> None:
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    with pytest.raises(ConfigError, match="dp is given twice"):
        train.run(parser.parse_args(words))
