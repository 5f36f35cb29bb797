"""`pangu evaluate tasks`, `table` and `diff`: the paper's evaluation, and what comes of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.cli.backends import is_first_rank
from pangu_alpha.cli.shared_network import add_recipe_argument, joined, open_recipe
from pangu_alpha.console import say
from pangu_alpha.errors import ConfigError
from pangu_alpha.locks import only_one

if TYPE_CHECKING:
    from pangu_alpha.evaluation.tasks.differences import Difference
    from pangu_alpha.evaluation.tasks.measure import Plan
    from pangu_alpha.evaluation.tasks.network import NetworkScorer
    from pangu_alpha.evaluation.tasks.results import Result
    from pangu_alpha.evaluation.tasks.scorer import Scorer

_SHOTS = ("0", "1", "few")
_FORMATS = ("text", "markdown", "latex")
EXAMPLES = (
    "  pangu evaluate tasks --checkpoint run --data data_sets --tasks c3,chid --shots 0,1,few --output result\n"
    "  pangu evaluate table result other_result --picture scale.svg\n"
    "  pangu evaluate diff result other_result --items 5"
)
NAMES = ("tasks", "table", "diff")


def declare(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the three actions."""
    _declare_tasks(actions)
    table = _action(
        actions, "table", "the table of results again, and the picture of several",
        "Print the tables of results, and draw their values against the networks' sizes.",
        "pangu evaluate table small large --format markdown --picture scale.svg",
    )  # fmt: skip
    table.add_argument(
        "results", nargs="+", type=Path, metavar="RESULT", help="folders that `tasks --output` has written"
    )
    table.add_argument("--format", choices=_FORMATS, default="text", help="of the table (text)")
    table.add_argument(
        "--picture", type=Path, metavar="FILE", help="also draw values against size: an .svg or .png file"
    )
    diff = _action(
        actions, "diff", "two results compared item by item",
        "Say of how many items the second result is better and worse than the first, and how likely that is by chance.",
        "pangu evaluate diff before after --items 5",
    )  # fmt: skip
    diff.add_argument("before", type=Path, metavar="RESULT", help="a folder that `tasks --output` has written")
    diff.add_argument("after", type=Path, metavar="RESULT", help="another one")
    diff.add_argument("--items", type=int, default=0, metavar="N", help="also name up to N items of each kind (0)")


def _declare_tasks(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    tasks = _action(
        actions, "tasks", "the paper's tasks, zero, one and few shots",
        "Ask a network the questions of data sets in their published files (docs/tasks.md names the tasks, where they\n"
        "are published, and the settings). Every answer is kept: the same command goes on where it was stopped.",
        "pangu evaluate tasks --checkpoint run --data data_sets --tasks c3,tnews --shots 0,few tnews.num_choices=0",
    )  # fmt: skip
    tasks.add_argument(
        "--checkpoint", type=Path, required=True, metavar="PATH", help="a step_* directory, or a run's output directory"
    )
    tasks.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="holds a folder or zip for each data set"
    )
    tasks.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="for every answer, the results and the tables"
    )
    tasks.add_argument(
        "--tasks",
        default="paper",
        metavar="NAMES",
        help="separated by commas; paper, fewclue and all are groups (paper)",
    )
    tasks.add_argument("--shots", default="0", metavar="LIST", help="of 0, 1 and few, separated by commas (0)")
    tasks.add_argument("--seed", type=int, default=1, metavar="N", help="of examples, wrong choices, samples, text (1)")
    tasks.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="draw the examples from N seeds, from --seed on (1)"
    )
    tasks.add_argument("--limit", type=int, metavar="N", help="measure N items of each task, drawn by --seed (all)")
    tasks.add_argument("--batch-size", type=int, metavar="N", help="continuations generated together (8)")
    tasks.add_argument("--tokenizer", type=Path, metavar="PATH", help="default: what the run's settings say")
    tasks.add_argument("--device", choices=("cpu", "ascend", "gpu"), help="default: what the run's settings say")
    add_recipe_argument(tasks)
    tasks.add_argument("-v", "--verbose", action="store_true", help="show MindSpore's warnings")
    tasks.add_argument("settings", nargs="*", metavar="TASK.FIELD=VALUE", help="settings that replace a task's")


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str, text: str, example: str
) -> argparse.ArgumentParser:
    return actions.add_parser(
        name,
        help=summary,
        description=text,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def run(arguments: argparse.Namespace) -> None:
    """Carry out one of the three actions."""
    {"tasks": _tasks, "table": _table, "diff": _diff}[arguments.action](arguments)


def _tasks(arguments: argparse.Namespace) -> None:
    if arguments.recipe is not None:
        _by_ranks(arguments)
        return
    plans = _plans(arguments)
    with _only_one(arguments.output):
        scorer = _open_network(arguments)
        _answer(plans, scorer, arguments.output)


def _by_ranks(arguments: argparse.Namespace) -> None:
    from pangu_alpha.evaluation.tasks.ranks import RankScorer
    from pangu_alpha.evaluation.tasks.scorer import network_facts
    from pangu_alpha.parallel.parameters import num_parameters

    # The questions come from rank 0 alone: the other ranks need no data sets.
    plans = _plans(arguments) if is_first_rank() else []
    recipe = open_recipe(arguments)
    config = recipe.config
    if config.train.batch_size > config.train.num_micro_batches:
        say(
            f"a candidate takes a batch of {config.train.batch_size} rows, and fills one: parallel.dp=1 and a smaller "
            "train.batch_size waste less"
        )
    with joined(recipe, arguments, "tasks") as network:
        facts = network_facts(network.checkpoint, num_parameters(config.model), recipe.tokenizer, config.model)
        scorer = RankScorer(config, recipe.tokenizer, network.mean_loss, network.workers, facts)
        with scorer.asking(network.is_main) as asks:
            if asks:
                with _only_one(arguments.output):
                    _answer(plans, scorer, arguments.output)


def _only_one(output: Path) -> AbstractContextManager[None]:
    output.mkdir(parents=True, exist_ok=True)
    return only_one(output / ".lock", f"the result {output}", "choose another --output")


def _answer(plans: Sequence[Plan], scorer: Scorer, folder: Path) -> None:
    from pangu_alpha.evaluation.tasks.measure import run_plan
    from pangu_alpha.evaluation.tasks.tables import format_table, write_results

    for plan in plans:
        run_plan(plan, scorer, folder)
    print(format_table(write_results(folder), "text"))
    say(f"results in {folder / 'results.json'}, tables beside it, every answer in {folder / 'answers'}")


def _plans(arguments: argparse.Namespace) -> list[Plan]:
    """All questions, so that a missing file is known before the first is asked."""
    from pangu_alpha.evaluation.tasks.catalogue import choose_tasks, without_free_text
    from pangu_alpha.evaluation.tasks.measure import make_plans

    shots = list(dict.fromkeys(arguments.shots.split(",")))
    for one in shots:
        if one not in _SHOTS:
            raise ConfigError(f"--shots {arguments.shots}: {one!r} is none of 0, 1 and few")
    for name in ("seeds", "limit", "batch_size"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name.replace('_', '-')} is {value}, but it must be at least 1")
    if not 0 <= arguments.seed < 2**63:
        raise ConfigError(f"--seed is {arguments.seed}, but it must be from 0 to 2⁶³ - 1")
    names = arguments.tasks.split(",")
    tasks = choose_tasks(names, arguments.settings)
    if arguments.recipe is not None:
        tasks = without_free_text(tasks, names)
    return [
        plan
        for task in tasks
        for plan in make_plans(task, arguments.data, shots, arguments.seed, arguments.seeds, arguments.limit)
    ]


def _open_network(arguments: argparse.Namespace) -> NetworkScorer:
    # MindSpore takes seconds to import; the rest can fail without it.
    from pangu_alpha.runtime.device import prepare_environment

    prepare_environment(arguments.verbose)
    from pangu_alpha.evaluation.tasks.network import NetworkScorer
    from pangu_alpha.evaluation.tasks.scorer import network_facts
    from pangu_alpha.inference import load_trained

    model = load_trained(arguments.checkpoint, arguments.tokenizer, arguments.device, fuse_operators=True)
    parameters = sum(item.size for item in model.network.trainable_params())
    facts = network_facts(model.checkpoint, parameters, model.tokenizer, model.config.model)
    batch_size = 8 if arguments.batch_size is None else arguments.batch_size
    return NetworkScorer(model.network, model.config.model, model.tokenizer, facts, batch_size)


def _table(arguments: argparse.Namespace) -> None:
    from pangu_alpha.evaluation.tasks.results import read_answers, summarise
    from pangu_alpha.evaluation.tasks.tables import format_table

    networks: list[tuple[float, Sequence[Result]]] = []
    for folder in arguments.results:
        answers = read_answers(folder)
        network, results = answers[0].header["network"], summarise(answers)
        networks.append((float(network["parameters"]), results))
        if len(arguments.results) > 1:
            print(f"{folder}: {network['name']}, {network['parameters']:,} parameters")
        print(format_table(results, arguments.format))
    if arguments.picture is not None:
        if arguments.picture.suffix not in (".svg", ".png"):
            raise ConfigError(f"--picture {arguments.picture}: pictures are .svg or .png. Choose one of these endings")
        from pangu_alpha.evaluation.tasks.picture import draw_scale

        draw_scale(networks, arguments.picture)
        say(f"picture in {arguments.picture}")


def _diff(arguments: argparse.Namespace) -> None:
    from pangu_alpha.evaluation.tasks.differences import compare
    from pangu_alpha.evaluation.tasks.results import read_answers

    differences = compare(read_answers(arguments.before), read_answers(arguments.after))
    print(
        f"{'task':12} {'shots':5} {'seed':>4} {'metric':10} {'items':>6} {'before':>7} {'after':>7} "
        "better  worse      p"
    )
    for one in differences:
        print(
            f"{one.task:12} {one.shots:5} {one.seed:4} {one.label:10} {one.num_items:6,} {one.before:7.2f} "
            f"{one.after:7.2f} {len(one.better):6,} {len(one.worse):6,} {one.p_value:6.3f}"
        )
        _print_items(one, arguments.items)
    for note in dict.fromkeys(f"{one.task}, {one.shots}-shot: {note}" for one in differences for note in one.notes):
        print(f"! {note}")


def _print_items(difference: Difference, number: int) -> None:
    for kind, changes in (("better", difference.better), ("worse", difference.worse)):
        for change in changes[:number]:
            print(f"    {kind}: {change.id}: {change.said_before[:40]!r} → {change.said_after[:40]!r}")
