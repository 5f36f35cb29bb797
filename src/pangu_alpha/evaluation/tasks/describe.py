"""Writes docs/tasks.md from the tasks: `python -m pangu_alpha.evaluation.tasks.describe > docs/tasks.md`."""

from __future__ import annotations

from pangu_alpha.evaluation.tasks.catalogue import GROUPS, TASKS
from pangu_alpha.evaluation.tasks.task import Task

_HEAD = """\
# The tasks of `pangu evaluate tasks`

Made from `evaluation/tasks/catalogue/` with `python -m pangu_alpha.evaluation.tasks.describe > docs/tasks.md`.
[Evaluation](evaluation.md) says how they are asked and scored.

No data set comes with this project. Put the published files as they are into a folder (or leave them in their zip)
whose name begins with the task's folder name below, all in one place: `--data` names it. In a template `|` stands where
scoring begins; `⏎` is a line end. Under "why so" stand where a value comes from, and where paper, README and code
disagree.
"""


def describe() -> str:
    """The page."""
    groups = "\n".join(f"- `--tasks {name}`: {', '.join(tasks)}" for name, tasks in GROUPS.items() if name != "all")
    rows = ["| task | folder | measured | examples from | licence | published at |", "|---|---|---|---|---|---|"]
    for task in TASKS.values():
        rows.append(
            f"| [{task.name}](#{task.name}) | `{_folder(task)}` | {task.split}: {_files(task, task.split)} | "
            f"{task.shot_split}: {_files(task, task.shot_split)} | {task.licence} | {task.source} |"
        )
    parts = [_HEAD, groups, "\n".join(rows), *(_describe_task(task) for task in TASKS.values())]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _folder(task: Task) -> str:
    return task.folder or task.name


def _files(task: Task, split: str) -> str:
    return " or ".join(f"`{pattern}`" for pattern in task.splits[split])


def _describe_task(task: Task) -> str:
    template = f"{task.context}|{task.scored}" if task.method != "generation" else f"{task.context}|"
    few = f"{task.few}" if task.few else "as many as have room"
    lines = [
        f"## {task.name}",
        "",
        f"{task.title}, {task.category}. {_how(task)}",
        "",
        f"    {template.replace(chr(10), '⏎')}",
        "",
        f"Few-shot: {few}{', answers taking turns' if task.balanced else ''}"
        f"{', of the same subject' if task.shots_by_group else ''}"
        f"{f', long fields cut to {task.shot_length} characters' if task.shot_length else ''}.",
    ]
    if task.sources:
        lines += ["", "Why so:", "", *(f"- {name}: {source}" for name, source in task.sources.items())]
    return "\n".join(lines)


def _how(task: Task) -> str:
    if task.method == "generation":
        decoding = f"temperature {task.temperature:g}, top-k {task.top_k or 'off'}, top-p {task.top_p:g}"
        decoding = "the likeliest token" if task.temperature == 0 else decoding
        metric = {"word": "accuracy", "em_f1": "exact match and F1", "rouge": "Rouge-1 and Rouge-L"}[task.metric]
        return f"Generated: up to {task.max_new_tokens} tokens, {decoding}; {metric}."
    if task.method == "perplexity":
        return "Perplexity of the missing word."
    number = f" Of all choices the truth and {task.num_choices - 1} random others." if task.num_choices else ""
    return f"The candidate of least loss; accuracy.{number}"


if __name__ == "__main__":
    print(describe(), end="")
