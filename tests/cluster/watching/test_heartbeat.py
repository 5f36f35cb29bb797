"""What ranks write about themselves."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest

from pangu_alpha.cluster.watching import heartbeat
from pangu_alpha.cluster.watching.heartbeat import (
    HeartbeatWriter,
    clear_heartbeats,
    last_step,
    read_all,
    read_heartbeats,
    read_settings,
)
from pangu_alpha.config import RunConfig, build_config
from pangu_alpha.errors import ClusterError


def _config(output: Path, **train: Any) -> RunConfig:
    return build_config(
        {
            "device": "cpu",
            "output": str(output),
            "model": {"preset": "tiny", "compute_dtype": "float32"},
            "train": {"steps": 100, "batch_size": 4, **train},
            "schedule": {"learning_rate": 1e-3, "end_learning_rate": 1e-4, "warmup_steps": 1, "decay_steps": 100},
            "parallel": {"dp": 4},
        }
    )


def test_phases_follow_each_other(tmp_path: Path) -> None:
    with HeartbeatWriter(_config(tmp_path), 3) as writer:
        (record,) = read_heartbeats(tmp_path).values()
        assert (record.rank, record.num_ranks, record.phase, record.step) == (3, 4, "starting", None)
        for phase, step in (("joining", None), ("compiling", 7), ("training", 8), ("saving", 8)):
            begin = time.time()
            writer.report(phase, step)
            record = read_heartbeats(tmp_path)[3]
            assert (record.phase, record.step) == (phase, step)
            assert begin <= record.time <= time.time()
    assert read_heartbeats(tmp_path)[3].phase == "ended"


def test_short_steps_write_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, writes = [1000.0], []
    monkeypatch.setattr(heartbeat.time, "time", lambda: now[0])
    monkeypatch.setattr(heartbeat, "BEAT", 1e6)  # only what the steps write is counted
    write_text = heartbeat.write_text
    monkeypatch.setattr(heartbeat, "write_text", lambda *words: (writes.append(now[0]), write_text(*words)))
    with HeartbeatWriter(_config(tmp_path), 0) as writer:
        writer.report("training", 1)
        writes.clear()
        for step in range(2, 1002):
            now[0] += 0.005
            writer.report("training", step)
        assert 4 <= len(writes) <= 5
        assert read_heartbeats(tmp_path)[0].step_seconds == pytest.approx(0.005)


def test_a_rank_that_waits_goes_on_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT", 0.02)
    with HeartbeatWriter(_config(tmp_path), 0) as writer:
        writer.report("training", 5)
        first = read_heartbeats(tmp_path)[0]
        deadline = time.monotonic() + 60
        while (record := read_heartbeats(tmp_path)[0]).time == first.time:
            assert time.monotonic() < deadline, "no record was written by the thread"
            time.sleep(0.01)
    assert record.since == first.since and record.step == 5


def test_a_failure_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="天下"), HeartbeatWriter(_config(tmp_path), 1) as writer:
        writer.report("training", 5)
        raise ValueError("天下大势，分久必合")
    record = read_heartbeats(tmp_path)[1]
    assert (record.phase, record.step, record.error) == ("failed", 5, "ValueError: 天下大势，分久必合")


@pytest.mark.parametrize("stop", [SystemExit(143), KeyboardInterrupt()])
def test_a_stop_is_no_failure(tmp_path: Path, stop: BaseException) -> None:
    with pytest.raises(type(stop)), HeartbeatWriter(_config(tmp_path), 1):
        raise stop
    assert read_heartbeats(tmp_path)[1].phase == "stopped"


def test_equal_settings_are_written_once(tmp_path: Path) -> None:
    for rank, seed in ((0, 1), (1, 1), (2, 5)):
        with HeartbeatWriter(_config(tmp_path, seed=seed), rank):
            pass
    records = read_heartbeats(tmp_path)
    assert records[0].settings == records[1].settings != records[2].settings
    assert [read_settings(tmp_path, records[rank].settings)["train"]["seed"] for rank in (0, 2)] == [1, 5]
    assert len(list((tmp_path / "heartbeats").iterdir())) == 5


def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("周末七国分争")
    with pytest.raises(ClusterError, match="set output to"), HeartbeatWriter(_config(tmp_path / "file"), 0):
        pass


def test_a_record_that_cannot_be_written_does_not_stop_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with HeartbeatWriter(_config(tmp_path), 0) as writer:
        (tmp_path / "heartbeats").rename(tmp_path / "gone")
        writer.report("training", 1)
        writer.report("saving", 1)
    assert capsys.readouterr().err.count("cannot be written") == 1


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    with HeartbeatWriter(_config(tmp_path), 0):
        pass
    (tmp_path / "heartbeats" / "rank_0.json").write_text('{"rank": 0')
    with HeartbeatWriter(_config(tmp_path), 1):
        pass
    found = read_all(tmp_path)
    assert list(found.by_rank) == [1] and found.unreadable_ranks == {0}
    assert list(found.unreadable) == [str(tmp_path / "heartbeats" / "rank_0.json")]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rank": "x"}', '{"rank": 1, "rank": 2}', "\0" * 100, "[" * 100_000])
def test_what_is_no_record_hides_no_other(tmp_path: Path, text: str) -> None:
    for rank in (0, 1):
        with HeartbeatWriter(_config(tmp_path), rank):
            pass
    (tmp_path / "heartbeats" / "rank_0.json").write_text(text)
    assert list(read_all(tmp_path).by_rank) == [1] and read_all(tmp_path).unreadable_ranks == {0}


def test_a_value_of_the_wrong_kind_is_no_record(tmp_path: Path) -> None:
    with HeartbeatWriter(_config(tmp_path), 0):
        pass
    path = tmp_path / "heartbeats" / "rank_0.json"
    values = json.loads(path.read_text())
    odd: list[tuple[str, Any]] = [
        ("rank", "0"), ("rank", -1), ("rank", 7), ("rank", True), ("rank", math.inf), ("num_ranks", None),
        ("num_ranks", 0), ("pid", -1), ("time", "now"), ("time", math.nan), ("time", 1e18), ("time", -1),
        ("since", math.nan), ("since", math.inf), ("step_seconds", math.nan),
        ("step", 1.5), ("step", -1), ("host", 3), ("host", "\ud800"),
        ("phase", "\x1b[31m"), ("settings", "\0"), ("space", []), ("error", "\ud800"), ("odd", 1),
    ]  # fmt: skip
    for name, value in odd:
        path.write_text(json.dumps({**values, name: value}))
        assert read_all(tmp_path).by_rank == {}, (name, value)
        assert list(read_all(tmp_path).unreadable) == [str(path)]


def test_an_error_about_bytes_that_are_no_text_is_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone"), HeartbeatWriter(_config(tmp_path), 0):
        raise OSError("gone: a\udcff")
    assert read_heartbeats(tmp_path)[0].error == r"OSError: gone: a\udcff"


def test_settings_that_are_gone_are_named(tmp_path: Path) -> None:
    with HeartbeatWriter(_config(tmp_path), 0):
        pass
    name = read_heartbeats(tmp_path)[0].settings
    (tmp_path / "heartbeats" / f"settings_{name}.json").unlink()
    with pytest.raises(ClusterError, match=f"settings_{name}"):
        read_settings(tmp_path, name)


def test_only_the_given_ranks_are_cleared(tmp_path: Path) -> None:
    for rank in range(4):
        with HeartbeatWriter(_config(tmp_path), rank):
            pass
    clear_heartbeats(tmp_path, [1, 2, 7])
    assert list(read_heartbeats(tmp_path)) == [0, 3]


def test_last_step_is_that_of_the_newest_attempt(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 57}\n{"step": 58}\n{"step": 5')
    assert last_step(tmp_path) is None
    with HeartbeatWriter(_config(tmp_path), 0) as writer:
        writer.report("joining")
        assert last_step(tmp_path) is None, "metrics of an attempt before this one"
        writer.report("compiling", 50)
        assert last_step(tmp_path) == 58
        writer.report("saving", 60)
        assert last_step(tmp_path) == 60
