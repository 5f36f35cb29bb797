"""Verifies many layouts, one after the other, and keeps what came out: the table and the picture of `pangu verify`."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from threading import Thread

import numpy as np
from matplotlib.figure import Figure

from pangu_alpha.emulator.cases import Case
from pangu_alpha.emulator.parity import Difference, Verdict, compile_programs, verify
from pangu_alpha.emulator.versions import verdict_version
from pangu_alpha.errors import CompileError

RESULTS = "verdicts.json"


def verify_all(cases: Sequence[Case], folder: Path, num_jobs: int | None) -> Iterator[Verdict]:
    """The verdict of each case, in order, as soon as it is known.

    Verdicts are kept in `folder`, and a case that was found good by the same code is not executed again. While one is
    executed, which takes one core, the next is compiled.
    """
    kept = _read(folder)
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


def draw(verdicts: Sequence[Verdict]) -> Figure:
    """A row a layout, a column a comparison: the difference over its limit, on a logarithmic scale; red is above it."""
    names = list(dict.fromkeys(item.what for verdict in verdicts for item in verdict.differences))
    values = np.full((len(verdicts), len(names)), np.nan)
    for row, verdict in enumerate(verdicts):
        for item in verdict.differences:
            share = item.value / item.limit if item.limit else item.value
            values[row, names.index(item.what)] = np.log10(max(share, 1e-6)) if np.isfinite(share) else 6.0
    figure = Figure(figsize=(2.5 + 0.9 * len(names), max(3.0, 1.6 + 0.22 * len(verdicts))), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(values, cmap="RdYlGn_r", vmin=-6, vmax=6, aspect="auto")
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(verdicts)), [verdict.case for verdict in verdicts], fontsize=7)
    for row, verdict in enumerate(verdicts):
        if verdict.failure:
            axes.text(0, row, "not executed", va="center", fontsize=7, color="red")
    figure.colorbar(image, label="log₁₀(difference ÷ limit)\nabove 0 is wrong")
    axes.set_title("Every layout's programs, executed and compared with one device", fontsize=10)
    return figure


def _read(folder: Path) -> dict[str, dict[str, Verdict]]:
    path = folder / RESULTS
    if not path.exists():
        return {}
    kept: dict[str, dict[str, Verdict]] = {}
    for name, versions in json.loads(path.read_text(encoding="utf-8")).items():
        kept[name] = {
            code: Verdict(item["case"], [Difference(**part) for part in item["differences"]], item["failure"])
            for code, item in versions.items()
        }
    return kept


def _write(folder: Path, kept: dict[str, dict[str, Verdict]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    document = {name: {code: asdict(verdict) for code, verdict in versions.items()} for name, versions in kept.items()}
    aside = folder / f".{RESULTS}.part"
    aside.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")
    aside.replace(folder / RESULTS)
