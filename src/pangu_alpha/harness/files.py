"""Writes `task_files/`, a file for each task: `python -m pangu_alpha.harness.files`."""

from __future__ import annotations

from pathlib import Path

from pangu_alpha.evaluation.tasks.catalogue import GROUPS, TASKS

FOLDER = Path(__file__).parent / "task_files"


def task_files() -> dict[str, str]:
    """Text by name."""
    return {f"pangu_{name}.yaml": _file(name) for name in TASKS}


def _file(name: str) -> str:
    tags = ["pangu", *(f"pangu_{group}" for group in GROUPS if group != "all" and name in GROUPS[group])]
    return (
        f"# {TASKS[name].title}; made with `python -m pangu_alpha.harness.files`\n"
        f"task: pangu_{name}\n"
        f"tag: [{', '.join(tags)}]\n"
        "class: !function pangu_alpha.harness.task.PanguTask\n"
        f"metadata: {{task: {name}}}\n"
    )


if __name__ == "__main__":
    for path, text in task_files().items():
        (FOLDER / path).write_text(text, encoding="utf-8")
