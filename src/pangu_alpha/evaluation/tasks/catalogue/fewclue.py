"""What the nine tasks of FewCLUE have in common: one folder, and files named alike."""

from __future__ import annotations

import dataclasses

from pangu_alpha.evaluation.tasks.task import Task


def in_fewclue(task: Task, folder: str) -> Task:
    """`task` on the files of FewCLUE's `folder`."""
    return dataclasses.replace(
        task,
        folder="fewclue",
        splits={
            "train": (f"{folder}/train_few_all.json",),
            "dev": (f"{folder}/dev_few_all.json",),
            "test": (f"{folder}/test_public.json",),
        },
        split="test",
        licence="none stated",
        source=f"github.com/CLUEbenchmark/FewCLUE, datasets/{folder}",
    )
