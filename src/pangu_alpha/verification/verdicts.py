"""Verifies many layouts, one after the other, and keeps what came out."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from typing import Any

from pangu_alpha.compiler.versions import verdict_version
from pangu_alpha.console import say
from pangu_alpha.errors import CompileError
from pangu_alpha.files import write_text
from pangu_alpha.locks import only_one
from pangu_alpha.reading import read_json
from pangu_alpha.records import to_json
from pangu_alpha.verification.cases import Case
from pangu_alpha.verification.parity import Difference, Verdict, compile_programs, verify

RESULTS = "verdicts.json"


def verify_all(cases: Sequence[Case], folder: Path, num_jobs: int | None) -> Iterator[Verdict]:
    """The verdict of each case, in order, as soon as it is known.

    Verdicts are kept in `folder`, and a case that was found good by the same code is not executed again. While one is
    executed, which takes one core, the next is compiled.

    Raises:
        LockError: another process writes verdicts to `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with only_one(folder / ".lock", f"the folder of verdicts {folder}", "choose another --output"):
        yield from _verify_all(cases, folder, num_jobs)


def _verify_all(cases: Sequence[Case], folder: Path, num_jobs: int | None) -> Iterator[Verdict]:
    kept = read_verdicts(folder)
    code = verdict_version()
    good = {case: verdict for case in cases if (verdict := kept.get(str(case), {}).get(code)) and verdict.is_good}
    waiting = deque(case for case in cases if case not in good)
    compiled = _compile_first(waiting, num_jobs)
    for case in cases:
        if case in good:
            yield good[case]
            continue
        refusal = compiled.exception()  # waits
        compiled = _compile_first(waiting, num_jobs)
        if refusal is None:
            verdict = verify(case, num_jobs)
        elif isinstance(refusal, CompileError):
            verdict = Verdict(str(case), failure=str(refusal))
        else:
            raise refusal
        kept[str(case)] = {code: verdict}
        _write(folder, kept)
        yield verdict


def _compile_first(waiting: deque[Case], num_jobs: int | None) -> Future[None]:
    """Begin to compile the first of `waiting`, if there is one, and remove it."""
    future: Future[None] = Future()
    case = waiting.popleft() if waiting else None

    def work() -> None:
        try:
            if case is not None:
                compile_programs(case, num_jobs)
            future.set_result(None)
        except BaseException as error:
            future.set_exception(error)

    # A daemon, so that Ctrl-C does not wait for it; the compilers end when they are not listened to any more.
    Thread(target=work, daemon=True).start()
    return future


def read_verdicts(folder: Path) -> dict[str, dict[str, Verdict]]:
    """What is kept in `folder`: layout → version of the code → verdict; nothing where it is damaged, which is said."""
    path = folder / RESULTS
    if not path.exists():
        return {}
    try:
        return {
            name: {
                code: Verdict(item["case"], [_difference(**part) for part in item["differences"]], item["failure"])
                for code, item in versions.items()
            }
            for name, versions in read_json(path).items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        say(f"{path} is damaged ({error!r}): every layout is executed again")
        return {}


def _difference(value: float | None, **others: Any) -> Difference:
    """None is what JSON keeps of a number that is not finite."""
    return Difference(value=math.nan if value is None else value, **others)


def _write(folder: Path, kept: dict[str, dict[str, Verdict]]) -> None:
    lines = (  # a layout each
        f"{to_json(name)}: {to_json({code: asdict(verdict) for code, verdict in versions.items()})}"
        for name, versions in kept.items()
    )
    write_text(folder / RESULTS, "{\n" + ",\n".join(lines) + "\n}\n")
