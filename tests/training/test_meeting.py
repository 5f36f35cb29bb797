"""Processes that meet: threads, each with sockets of its own, and one real process that is killed."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pangu_alpha.errors import ClusterError, ConfigError, TrainingError
from pangu_alpha.run_folder import MEETING
from pangu_alpha.training import meeting
from pangu_alpha.training.meeting import VARIABLE, Meeting

RANKS = (0, 3, 5)


def together(
    folder: Path, ask: Callable[[Meeting], str], environment: dict[str, str] | None = None, patience: float = 200
) -> list[str]:
    """What each of the ranks gets to hear."""

    def run(rank: int) -> str:
        return ask(Meeting(folder, rank, RANKS, environment or {}, patience))

    with ThreadPoolExecutor(len(RANKS)) as pool:
        return list(pool.map(run, RANKS))


def test_all_get_what_the_rule_makes_of_all(tmp_path: Path) -> None:
    texts = iter(["a 梯\n", "b", "c"])
    lock = threading.Lock()

    def ask(one: Meeting) -> str:
        with lock:
            text = next(texts)
        return "".join(sorted(one.decide(text, "".join)))

    assert together(tmp_path, ask) == ["\n abc梯"] * 3
    assert not (tmp_path / MEETING).exists()


def test_the_rule_gets_the_texts_in_the_order_of_the_ranks(tmp_path: Path) -> None:
    def ask(one: Meeting) -> str:
        return one.decide(str(one._rank), " ".join) + f" {one.largest(one._rank)}"

    assert together(tmp_path, ask) == ["0 3 5 5"] * 3


def test_settings_that_differ_are_refused_on_all(tmp_path: Path) -> None:
    def ask(one: Meeting) -> str:
        assert one.attempt()
        with pytest.raises(ConfigError, match="different settings"):
            one.require_equal("other" if one._rank == 3 else "same")
        one.require_equal("same")
        return one.attempt()

    assert len(set(together(tmp_path, ask))) == 1


@pytest.fixture
def given_place() -> dict[str, str]:
    """The environment of a job that is told where rank 0 listens."""
    with socket.create_server(("", 0)) as probe:
        return {VARIABLE: f"127.0.0.1:{probe.getsockname()[1]}"}


def test_hosts_that_share_no_folder_meet_at_a_given_place(tmp_path: Path, given_place: dict[str, str]) -> None:
    assert together(tmp_path, lambda one: one.decide("x", "".join), given_place) == ["xxx"] * 3
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def earlier_call(
    tmp_path: Path, given_place: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[socket.socket]]:
    """A call of rank 3, by itself, that waits for a rank 0 that stands still before its first answer."""
    calls: list[socket.socket] = []
    listening = meeting._listening

    def stand_still(port: int) -> socket.socket:
        door, place = listening(port), meeting._given_place(tmp_path, given_place)
        assert place is not None
        calls.append(socket.create_connection((place.hosts[0], port)))
        calls[0].sendall(json.dumps({"key": place.key, "rank": 3}).encode() + b"\n")
        return door

    monkeypatch.setattr(meeting, "_listening", stand_still)
    yield calls
    for call in calls:
        call.close()


def test_a_rank_that_has_given_up_a_call_and_calls_again_is_met(
    tmp_path: Path, given_place: dict[str, str], earlier_call: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_still = meeting._listening
    monkeypatch.setattr(meeting, "_listening", lambda port: (stand_still(port), earlier_call[0].close())[0])
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: Meeting(tmp_path, 0, (0, 3), given_place, patience=200).decide("x", "".join))
        assert Meeting(tmp_path, 3, (0, 3), given_place, patience=200).decide("y", "".join) == "xy" == first.result()


def test_the_newer_call_of_a_rank_is_the_one_that_counts(
    tmp_path: Path, given_place: dict[str, str], earlier_call: list[socket.socket]
) -> None:
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(Meeting, tmp_path, 0, RANKS, given_place, 200)
        others = [Meeting(tmp_path, rank, RANKS, given_place, 200) for rank in (3, 5)]
        earlier_call[0].close()
        assert list(pool.map(lambda one: one.decide("x", "".join), (first.result(), *others))) == ["xxx"] * 3


@pytest.mark.parametrize("place", ["8119", "host:", "host:many", "host:99999", ":1"])
def test_a_place_that_is_none(tmp_path: Path, place: str) -> None:
    with pytest.raises(ClusterError, match=r"is not of the form HOST:PORT"):
        Meeting(tmp_path, 3, RANKS, {VARIABLE: place}, patience=1)


def test_who_does_not_come_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"2 of 3 ranks of this job have not come to rank 0: \[3, 5\]"):
        Meeting(tmp_path, 0, RANKS, {}, patience=0.3)
    assert not (tmp_path / MEETING).exists()
    with pytest.raises(ClusterError, match=r"rank 3 has not found rank 0.*set output to a folder that all hosts see"):
        Meeting(tmp_path, 3, RANKS, {}, patience=0.3)


def test_what_an_earlier_start_has_left_is_passed_over(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:  # takes calls and says nothing
        left = {"hosts": ["127.0.0.1"], "port": nobody.getsockname()[1], "key": "old"}
        (tmp_path / MEETING).write_text(json.dumps(left))
        assert together(tmp_path, lambda one: one.decide("x", "".join)) == ["xxx"] * 3


def test_strangers_are_passed_over(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: Meeting(tmp_path, 0, (0, 3), {}, patience=200).decide("x", "".join))
        while not (tmp_path / MEETING).exists():
            assert not first.done()
            time.sleep(0.01)
        port = json.loads((tmp_path / MEETING).read_text())["port"]
        for words in (
            b"",
            b"GET / HTTP/1.1\r\n\r\n",
            b'{"key": "no", "rank": 3}\n',
            b"\xff\xfe\n",
            b"[1]\n",
            b"[" * 4000 + b"\n",
        ):
            with socket.create_connection(("127.0.0.1", port)) as stranger:
                stranger.sendall(words)
        assert Meeting(tmp_path, 3, (0, 3), {}, patience=200).decide("y", "".join) == "xy" == first.result()


def test_a_rank_that_is_killed_ends_the_others(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from pangu_alpha.training.meeting import Meeting\n"
        f"m = Meeting(Path({str(tmp_path)!r}), int(sys.argv[1]), (0, 1, 2), {{}}, 280)\n"
        "print('met', flush=True)\n"
        "while True: m.largest(0); time.sleep(0.02)\n"
    )
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    ranks = [subprocess.Popen([sys.executable, "-c", code, str(rank)], text=True, **pipes) for rank in range(3)]
    for process in ranks:
        assert process.stdout is not None and process.stdout.readline() == "met\n"
    ranks[1].send_signal(signal.SIGKILL)
    errors = [process.communicate(timeout=280)[1] for process in ranks]
    assert "TrainingError: rank 1 has ended, so that rank 0 cannot go on" in errors[0]
    assert "TrainingError: rank 0 has ended" in errors[2] or "rank 1 has ended" in errors[2]


def test_an_answer_that_never_ends_is_no_answer(tmp_path: Path) -> None:
    def ask(one: Meeting) -> str:
        if one._rank == 5:
            for line in one._lines.values():
                line._file.write(b'"half')
                line._file.flush()
                line.close()
            return "left"
        with pytest.raises(TrainingError, match="has ended"):
            one.decide("x", "".join)
            one.decide("x", "".join)
        for line in one._lines.values():
            line.close()
        return "told"

    assert together(tmp_path, ask) == ["told", "told", "left"]


def test_a_rank_that_hangs_up_at_once_has_been_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    say = meeting._Line.say

    def say_and_stand_still(line: meeting._Line, what: object) -> None:
        say(line, what)
        if isinstance(what, str) and len(what) == 32:  # rank 0's answer to a call
            time.sleep(0.3)

    def ask(one: Meeting) -> str:
        for line in one._lines.values():
            line.close()
        return "met"

    monkeypatch.setattr(meeting._Line, "say", say_and_stand_still)
    assert together(tmp_path, ask, patience=10) == ["met"] * 3
