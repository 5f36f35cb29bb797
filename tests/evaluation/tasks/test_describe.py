from __future__ import annotations

from pathlib import Path

from pangu_alpha.evaluation.tasks.catalogue import TASKS
from pangu_alpha.evaluation.tasks.describe import describe

PAGE = Path(__file__).parents[3] / "docs" / "tasks.md"


def test_the_page_is_that_of_these_tasks() -> None:
    message = "run `python -m pangu_alpha.evaluation.tasks.describe > docs/tasks.md`"
    assert PAGE.read_text(encoding="utf-8") == describe(), message


def test_every_task_says_where_it_comes_from() -> None:
    for task in TASKS.values():
        assert task.licence and task.source and task.sources, task.name
