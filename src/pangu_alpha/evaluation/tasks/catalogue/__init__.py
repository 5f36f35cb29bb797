"""The tasks, one a file. `TASKS` has them in the order of Tables 9 and 10, then those that came later."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from pangu_alpha.console import say
from pangu_alpha.errors import ConfigError
from pangu_alpha.evaluation.tasks.catalogue import (
    afqmc,
    bustm,
    c3,
    ceval,
    cft,
    chid,
    cluewsc2020,
    cmmlu,
    cmnli,
    cmrc2017,
    cmrc2018,
    cmrc2019,
    csl,
    csldcp,
    drcd,
    dureader,
    eprstmt,
    few_chid,
    few_cluewsc,
    few_csl,
    few_iflytek,
    few_ocnli,
    few_tnews,
    iflytek,
    ocnli,
    pd,
    tnews,
    webqa,
    wplc,
)
from pangu_alpha.evaluation.tasks.task import Task, with_setting

_PAPER = (cmrc2018, drcd, dureader, webqa, pd, cft, cmrc2017, chid, cmrc2019, cmnli, ocnli, tnews, iflytek, afqmc, csl)
_LATER = (ceval, cmmlu)
_FEWCLUE = (eprstmt, bustm, few_ocnli, csldcp, few_tnews, few_iflytek, few_cluewsc, few_csl, few_chid)
PAPER_TASKS: tuple[Task, ...] = tuple(module.TASK for module in (*_PAPER, cluewsc2020, c3, wplc))
TASKS: dict[str, Task] = {task.name: task for task in (*PAPER_TASKS, *(module.TASK for module in (*_LATER, *_FEWCLUE)))}
GROUPS = {
    "paper": [task.name for task in PAPER_TASKS],
    "fewclue": [module.TASK.name for module in _FEWCLUE],
    "all": list(TASKS),
}
"""Words that stand for several tasks."""


def choose_tasks(names: Iterable[str], settings: Iterable[str] = ()) -> list[Task]:
    """The tasks of these names or groups, in order and each once, with `TASK.FIELD=VALUE` applied.

    Raises:
        ConfigError: there is no such task, or the setting is of a task that was not asked for, or is none.
    """
    chosen: dict[str, Task] = {}
    for name in names:
        for one in GROUPS.get(name, [name]):
            if one not in TASKS:
                near = difflib.get_close_matches(one, TASKS, 1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join([*GROUPS, *TASKS])}"
                raise ConfigError(f"no task is called {one!r}: {hint}")
            chosen[one] = TASKS[one]
    for setting in settings:
        path, equals, value = setting.partition("=")
        name, _, setting_name = path.partition(".")
        if not equals or not setting_name:
            raise ConfigError(f"{setting!r} is no setting: write TASK.FIELD=VALUE, for example c3.split=test")
        if name not in chosen:
            raise ConfigError(f"{setting}: {name} is not among the tasks to be measured ({', '.join(chosen)})")
        chosen[name] = with_setting(chosen[name], setting_name, value)
    return list(chosen.values())


def without_free_text(tasks: Iterable[Task], names: Collection[str]) -> list[Task]:
    """Those that a network which ranks share can answer: its programs know losses, and write no text.

    Args:
        tasks: what `names` stand for.
        names: what was asked for. Members of a group are left out with a line.

    Raises:
        ConfigError: a task of free answers was asked for by its own name, or nothing is left.
    """
    found = list(tasks)
    free = [task.name for task in found if task.method == "generation"]
    why = "answered in free text, which a network that ranks share does not write"
    if asked := [name for name in free if name in names]:
        raise ConfigError(f"{', '.join(asked)}: {why}. Leave it out, or measure the checkpoint in one process")
    if free:
        say(f"left out, since they are {why}: {', '.join(free)}")
    if len(free) == len(found):
        raise ConfigError(f"no task of {', '.join(names)} is left")
    return [task for task in found if task.name not in free]
