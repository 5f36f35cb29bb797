"""`pangu corpus`: web pages and text files → clean text without duplicates, and a ledger of every document.

The corpus package is imported by the functions that work, so that `--help` does not wait for numpy and pydantic.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.cli.corpus_look import add_inspect, add_report, add_sample
from pangu_alpha.cli.corpus_quality import add_compare, add_train
from pangu_alpha.console import duration, progress, si
from pangu_alpha.errors import ConfigError

if TYPE_CHECKING:
    from pangu_alpha.corpus.engine import Engine
    from pangu_alpha.corpus.running import Summary

_RAW = argparse.RawDescriptionHelpFormatter
_RECIPE = "a YAML file or the name of a preset: pangu_alpha_2021, fineweb2_cmn_hani, evalweb, mnbvc, ccnet_zh"
_INPUT = (
    "files or folders: .warc .wet .html .jsonl .txt .parquet, .gz and .zst too; SOURCE=PATH where a recipe has several"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `run`, `plan`, `rules`, `inspect`, `report`, `sample`, `train` and `compare`."""
    parser.epilog = (
        "examples:\n  pangu corpus run pangu_alpha_2021 --input common_crawl=crawl/ news=news.jsonl --output corpus\n"
        "  pangu corpus rules\n"
        "  pangu data pack --input corpus/text/news --tokenizer tokenizer --output tokens/news"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_run(actions)
    _add_plan(actions)
    add_inspect(actions, _RECIPE, _INPUT)
    add_report(actions)
    add_sample(actions)
    add_train(actions)
    add_compare(actions, _RECIPE, _INPUT)
    rules = actions.add_parser(
        "rules",
        help="list the rules that a recipe can use",
        description="Print every rule with what it means, where it is from, and its settings.",
        epilog="example:\n  pangu corpus rules",
        formatter_class=_RAW,
    )
    rules.set_defaults(act=_rules)


def run(arguments: argparse.Namespace) -> None:
    """Carry out `pangu corpus ...`."""
    arguments.act(arguments)


def _add_run(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    running = actions.add_parser(
        "run",
        help="make a corpus",
        description=(
            "Read, clean, filter and deduplicate documents. Writes OUTPUT/text/SOURCE/*.jsonl.zst, which `pangu data\n"
            "pack` takes, and OUTPUT/ledger/*.parquet with a row for every document of the input. Started again after\n"
            "whatever ended it, it goes on; what comes out does not depend on that, nor on the number of workers."
        ),
        epilog="examples:\n"
        "  pangu corpus run pangu_alpha_2021 --input common_crawl=crawl/ ebooks=novels/ --output corpus\n"
        "  pangu corpus run my.yaml --input pages.warc.gz --output corpus --workers 8\n"
        "  pangu corpus run my.yaml --input crawl/ --output /shared/corpus --ray auto",
        formatter_class=_RAW,
    )
    running.add_argument("recipe", help=_RECIPE)
    running.add_argument("--input", nargs="+", required=True, metavar="PATH", help=_INPUT)
    running.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of the corpus")
    running.add_argument("--workers", type=int, metavar="N", help="processes; default: the processors of this machine")
    running.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="let a Ray cluster work: `auto` on one of its nodes, or host:port; all nodes see input and output",
    )
    running.set_defaults(act=_run)


def _add_plan(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    planning = actions.add_parser(
        "plan",
        help="say how long a corpus takes, how much memory and disk",
        description="Make a corpus of parts from all over the input, and take the rest to be like them.",
        epilog="example:\n  pangu corpus plan pangu_alpha_2021 --input common_crawl=crawl/ --workers 8 --seconds 60",
        formatter_class=_RAW,
    )
    planning.add_argument("recipe", help=_RECIPE)
    planning.add_argument("--input", nargs="+", required=True, metavar="PATH", help=_INPUT)
    planning.add_argument("--workers", type=int, metavar="N", help="processes; default: those of this machine")
    planning.add_argument(
        "--seconds", type=float, default=20.0, metavar="S", help="of cleaning for the sample (default: %(default)s)"
    )
    planning.set_defaults(act=_plan)


def _plan(arguments: argparse.Namespace) -> None:
    from pangu_alpha.corpus.load import load_recipe
    from pangu_alpha.corpus.planning import forecast
    from pangu_alpha.corpus.sources.pieces import parse_inputs

    recipe = load_recipe(arguments.recipe)
    inputs = parse_inputs(arguments.input, list(recipe.sources))
    workers = _num_workers(arguments.workers)
    with progress("sample", arguments.seconds, "s") as advance:
        found = forecast(recipe, inputs, arguments.seconds, advance)
    sample = f"{si(found.sample_bytes)} of {si(found.input_bytes)} bytes"
    print(f"sample  {sample}; {found.texts_share:.1%} of its documents stay")
    for words, seconds in found.seconds.items():
        rate = found.input_bytes / seconds
        print(f"        {words:12} {duration(seconds / workers):>14}   {si(rate)} bytes/s a worker")
    print(f"time    {duration(sum(found.seconds.values()) / workers)} with {workers} workers, if the disk keeps up")
    print(f"memory  {si(found.worker_memory * workers)} bytes, {si(found.worker_memory)} a worker")
    print(f"disk    {si(found.output_bytes)} bytes of texts and ledger, and {si(found.work_bytes)} until all is done")


def _run(arguments: argparse.Namespace) -> None:
    from pangu_alpha.corpus.load import load_recipe
    from pangu_alpha.corpus.running import run_corpus
    from pangu_alpha.corpus.sources.pieces import parse_inputs

    recipe = load_recipe(arguments.recipe)
    inputs = parse_inputs(arguments.input, list(recipe.sources))
    engine = make_engine(arguments.workers, arguments.ray)
    try:
        summary = run_corpus(recipe, inputs, arguments.output, engine)
    finally:
        engine.close()
    _print_summary(summary)
    print(f"texts   {arguments.output / 'text'}\nledger  {arguments.output / 'ledger'}")


def make_engine(workers: int | None, ray: str | None) -> Engine:
    """Who does the tasks: processes of this machine or, with an address, a Ray cluster.

    Raises:
        ConfigError: wrong options.
        ClusterError: no cluster answers.
    """
    from pangu_alpha.corpus.engine import Processes, RayCluster

    if ray is None:
        return Processes(_num_workers(workers))
    if workers is not None:
        raise ConfigError("--workers is for this machine: a Ray cluster knows how many processors it has")
    return RayCluster(ray)


def _num_workers(workers: int | None) -> int:
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers {workers}: give 1 or more")
    return workers or len(os.sched_getaffinity(0))


def _print_summary(summary: Summary) -> None:
    sources = list(summary.by_source)
    reasons = sorted(
        {reason for counts in summary.by_source.values() for reason in counts},
        key=lambda reason: (reason != "", -sum(counts.get(reason, 0) for counts in summary.by_source.values()), reason),
    )
    width = max(12, *(len(source) for source in sources))
    print(f"{'documents':28}" + "".join(f" {source:>{width}}" for source in [*sources, "all"]))
    for reason in [*reasons, None]:
        counts = [
            sum(by.values()) if reason is None else by.get(reason, 0)
            for by in (summary.by_source[one] for one in sources)
        ]
        name = "read" if reason is None else reason or "stay"
        print(f"{name:28}" + "".join(f" {count:>{width},}" for count in [*counts, sum(counts)]))
    print(f"{summary.texts:,} texts of {si(summary.characters)} characters")


def _rules(arguments: argparse.Namespace) -> None:
    from pangu_alpha.corpus.rules import RULES

    for name, rule in RULES.items():
        settings = ", ".join(f"{key}={str(value)[:30]}" for key, value in rule.settings.items() if value is not None)
        print(f"{name:26} {'change ' if rule.changes else 'measure'} {rule.meaning} [{rule.origin}]")
        if settings:
            print(f"{'':26}         {settings}")
