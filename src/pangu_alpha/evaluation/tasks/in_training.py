"""The tasks of a run, measured between its steps."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from pangu_alpha.checkpoint import step_name
from pangu_alpha.config import TasksConfig
from pangu_alpha.console import say
from pangu_alpha.evaluation.tasks.catalogue import choose_tasks, without_free_text
from pangu_alpha.evaluation.tasks.measure import Plan, make_plans, run_plan
from pangu_alpha.evaluation.tasks.results import LABELS, Result
from pangu_alpha.evaluation.tasks.scorer import Scorer
from pangu_alpha.evaluation.tasks.tables import write_results
from pangu_alpha.records import append_record, drop_after
from pangu_alpha.run_folder import TASK_RESULTS, TASKS
from pangu_alpha.tokenizer import Tokenizer
from pangu_alpha.training.callbacks import Callback
from pangu_alpha.training.metrics import StepMetrics

if TYPE_CHECKING:
    from pangu_alpha.training.trainer import Trainer

_SEED = 1
"""Of examples, wrong choices and the sample of items: the same at every step, so that the steps can be compared."""


def plans_of(config: TasksConfig, is_shared: bool, tokenizer: Tokenizer, window: int) -> list[Plan]:
    """What a run measures; nothing where it names no tasks.

    Everything is put into tokens once, so that no question ends the training because it does not fit.

    Args:
        config: of the run.
        tokenizer: of the run.
        window: tokens that its network sees.
        is_shared: whether ranks share the network, so that it writes no text.

    Raises:
        ConfigError: a task does not exist, or cannot be measured so.
        DataError: its files are missing, not in the published format, or an item does not fit the window.
    """
    if not config.names or config.data is None:
        return []
    tasks = choose_tasks(config.names)
    if is_shared:
        tasks = without_free_text(tasks, config.names)
    plans = [plan for task in tasks for plan in make_plans(task, config.data, config.shots, _SEED, 1, config.limit)]
    for plan in plans:
        for item in plan.items:
            plan.question(item, tokenizer, window)
    return plans


class MeasureTasks(Callback):
    """Measures the run's tasks every `tasks.every` steps and at the end: answers and tables in a folder a step."""

    def __init__(
        self,
        plans: Sequence[Plan],
        scorer: Scorer,
        facts: dict[str, object],
        asking: Callable[[], AbstractContextManager[bool]],
    ) -> None:
        """Args:
        plans: what is asked.
        scorer: the network that is trained.
        facts: what `scorer` says of itself; gets the step.
        asking: inside, the network answers; gives whether it is this process that asks.
        """
        self._plans, self._scorer, self._facts, self._asking = plans, scorer, facts, asking

    def on_start(self, trainer: Trainer) -> None:
        """Forget results of steps that will be done again."""
        if trainer.is_main:
            trainer.config.output.mkdir(parents=True, exist_ok=True)
            drop_after(trainer.config.output / TASK_RESULTS, trainer.progress.step, say)

    def on_step(self, trainer: Trainer, metrics: StepMetrics) -> None:
        """Measure when it is time."""
        if metrics.step % trainer.config.tasks.every and metrics.step != trainer.config.train.steps:
            return
        with trainer.phase("validating"), self._asking() as asks:
            if asks:
                self._measure(trainer, metrics.step)

    def _measure(self, trainer: Trainer, step: int) -> None:
        self._facts["step"] = step
        output = trainer.config.output
        folder = output / TASKS / step_name(step)
        # Answers of another start are those of other weights, if only by the order in which ranks add up.
        shutil.rmtree(folder, ignore_errors=True)
        for plan in self._plans:
            run_plan(plan, self._scorer, folder)
        results = write_results(folder)
        for result in results:
            append_record(output / TASK_RESULTS, {"step": step, **_record(result)})
            trainer.measured[f"tasks/{result.task} {result.shots}-shot {result.metric}"] = result.value
        say(f"step {step}: " + ", ".join(map(_say, results)))


def _record(result: Result) -> dict[str, object]:
    names = ("task", "shots", "metric", "num_items", "value", "low", "high", "chance", "majority")
    return {name: getattr(result, name) for name in names}


def _say(result: Result) -> str:
    return f"{result.task} {result.shots}-shot {LABELS[result.metric]} {result.value:.2f}"
