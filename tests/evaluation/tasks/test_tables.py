from __future__ import annotations

from pathlib import Path

from pangu_alpha.evaluation.tasks.picture import draw_scale
from pangu_alpha.evaluation.tasks.results import Result
from pangu_alpha.evaluation.tasks.tables import format_table


def result(shots: str, value: float, metric: str = "mean", notes: tuple[str, ...] = ()) -> Result:
    paper = (42.61, 41.53) if metric == "mean" else None
    return Result(
        "ocnli", "OCNLI", metric, shots, 2950, value, value - 2, value + 2, (value,), 33.33, 37.5, paper, notes
    )


RESULTS = [result("0", 41.2), result("0", 40.0, "sum"), result("few", 46.0, notes=("DEGENERATE (mean): always '对'",))]


def test_a_row_a_measure_and_columns_for_shots() -> None:
    lines = format_table(RESULTS, "text").splitlines()
    assert lines[0].split() == [
        *("dataset", "metric", "items", "chance", "majority"),
        *("zero-shot", "here", "[95", "%]", "2.6B", "13B", "few-shot", "here", "[95", "%]", "2.6B", "13B"),
    ]
    assert lines[1].split() == [
        *("OCNLI", "Acc", "(mean)", "2,950", "33.33", "37.50"),
        *("41.20", "[39.20,", "43.20]", "42.61", "41.53", "46.00", "[44.00,", "48.00]", "42.61", "41.53"),
    ]
    assert lines[2].split()[-8:] == ["40.00", "[38.00,", "42.00]", "-", "-", "-", "-", "-"]
    assert lines[4] == "! ocnli, few-shot: DEGENERATE (mean): always '对'"


def test_markdown_has_as_many_cells_in_every_row() -> None:
    lines = format_table(RESULTS, "markdown").splitlines()
    assert {line.count("|") for line in lines[:4]} == {12}
    assert lines[5] == "- ocnli, few-shot: DEGENERATE (mean): always '对'"


def test_latex_has_as_many_columns_as_it_says() -> None:
    table = format_table(RESULTS, "latex")
    lines = table.splitlines()
    assert lines[0] == r"\begin{tabular}{llrrrrrrrrr}"
    rows = [line for line in lines if line.endswith(r"\\")]
    assert {line.count(" & ") for line in rows} == {10}
    assert r"[95 \%]" in table
    assert lines[-1].startswith("% ocnli")


def test_a_picture_appears_whole(tmp_path: Path) -> None:
    for name, head in (("scale.png", b"\x89PNG"), ("scale.svg", b"<?xml")):
        draw_scale([(1e6, RESULTS), (1e8, RESULTS)], tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(head)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scale.png", "scale.svg"]
