"""Results in the layout of Tables 9 and 10: a row a measure, columns for zero, one and few shots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

from pangu_alpha.evaluation.tasks.results import LABELS, Result, read_answers, summarise
from pangu_alpha.files import write_text
from pangu_alpha.records import to_json

Format = Literal["text", "markdown", "latex"]
FORMATS: tuple[str, ...] = get_args(Format)
RESULTS = "results.json"
_FILES: dict[Format, str] = {"text": "table.txt", "markdown": "table.md", "latex": "table.tex"}
_SHOTS = {"0": "zero-shot", "1": "one-shot", "few": "few-shot"}
_COLUMNS = ("here [95 %]", "2.6B", "13B")


def write_results(folder: Path) -> list[Result]:
    """Make results.json and the tables of the answers in `folder`, beside them.

    Raises:
        DataError: it holds no answers.
    """
    results = summarise(read_answers(folder))
    write_text(folder / RESULTS, to_json([result.as_json() for result in results], indent=2) + "\n")
    for kind, name in _FILES.items():
        write_text(folder / name, format_table(results, kind) + "\n")
    return results


def format_table(results: Sequence[Result], kind: Format) -> str:
    """The table, then the notes. `2.6B` and `13B` are the paper's (Table 10)."""
    shown = [shots for shots in _SHOTS if any(result.shots == shots for result in results)]
    head = ["dataset", "metric", "items", "chance", "majority"]
    head += [
        f"{_SHOTS[shots]} {column}" if number == 0 else column
        for shots in shown
        for number, column in enumerate(_COLUMNS)
    ]
    rows = [_row(group, shown) for group in _groups(results)]
    table = {"text": _text, "markdown": _markdown, "latex": _latex}[kind](head, rows)
    notes = dict.fromkeys(
        f"{result.task}, {_SHOTS[result.shots]}: {note}" for result in results for note in result.notes
    )
    mark = {"text": "! ", "markdown": "- ", "latex": "% "}[kind]
    lines = [mark + note for note in notes]
    return "\n".join([table, *(["", *lines] if lines else [])])


def _groups(results: Sequence[Result]) -> list[list[Result]]:
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.task, result.metric), []).append(result)
    return list(groups.values())


def _row(group: Sequence[Result], shown: Sequence[str]) -> list[str]:
    first = group[0]
    by_shots = {result.shots: result for result in group}
    # Where columns are of different numbers of items, all numbers are there.
    items = " · ".join(dict.fromkeys(f"{by_shots[shots].num_items:,}" for shots in shown if shots in by_shots))
    row = [first.title, LABELS[first.metric], items, _number(first.chance), _number(first.majority)]
    for shots in shown:
        result = by_shots.get(shots)
        if result is None:
            row += ["-", "-", "-"]
            continue
        row.append(f"{_number(result.value)} [{_number(result.low)}, {_number(result.high)}]")
        row += [_number(value) for value in result.paper or (None, None)]
    return row


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 10_000 else f"{value:.3g}"


def _text(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    aligned: list[Callable[[str, int], str]] = [str.ljust, str.ljust, *[str.rjust] * (len(head) - 2)]
    lines = [
        "  ".join(align(cell, width) for align, cell, width in zip(aligned, row, widths, strict=True)).rstrip()
        for row in [head, *rows]
    ]
    return "\n".join(lines)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", "---", *["--:"] * (len(head) - 2)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *rows])


def _latex(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [" & ".join(cell.replace("%", r"\%") for cell in row) + r" \\" for row in [head, *rows]]
    body = [r"\hline", lines[0], r"\hline", *lines[1:], r"\hline"]
    return "\n".join([rf"\begin{{tabular}}{{ll{'r' * (len(head) - 2)}}}", *body, r"\end{tabular}"])
