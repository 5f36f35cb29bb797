"""`pangu corpus inspect`, `report` and `sample`: looking at rules and at a corpus."""

from __future__ import annotations

import argparse
from pathlib import Path

from pangu_alpha.errors import ConfigError

_RAW = argparse.RawDescriptionHelpFormatter
_Actions = argparse._SubParsersAction


def add_inspect(actions: _Actions[argparse.ArgumentParser], recipe: str, inputs: str) -> None:
    """Declare `inspect`."""
    parser = actions.add_parser(
        "inspect",
        help="show what rules do to documents",
        description=(
            "Take documents through a recipe and print, for each, every rule with its number and what it takes out of\n"
            "the text. With several recipes: what becomes of each document under each, side by side."
        ),
        epilog="examples:\n  pangu corpus inspect pangu_alpha_2021 --input common_crawl=pages.warc.gz --documents 3\n"
        "  pangu corpus inspect evalweb mnbvc ccnet_zh --input pages/ --documents 100",
        formatter_class=_RAW,
    )
    parser.add_argument("recipes", nargs="+", metavar="RECIPE", help=recipe)
    parser.add_argument("--input", nargs="+", required=True, metavar="PATH", help=inputs)
    parser.add_argument("--documents", type=int, default=5, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument(
        "--first", type=int, default=0, metavar="N", help="of them, counted from 0 (default: %(default)s)"
    )
    parser.set_defaults(act=_inspect)


def add_report(actions: _Actions[argparse.ArgumentParser]) -> None:
    """Declare `report`."""
    parser = actions.add_parser(
        "report",
        help="count a corpus's ledger, and draw it",
        description="Print how many documents fell to what, and write pictures: fates by source, lengths, clusters.",
        epilog="example:\n  pangu corpus report corpus",
        formatter_class=_RAW,
    )
    parser.add_argument("corpus", type=Path, metavar="DIR", help="output folder of `pangu corpus run`")
    parser.add_argument("--output", type=Path, metavar="DIR", help="of the pictures (default: DIR/report)")
    parser.set_defaults(act=_report)


def add_sample(actions: _Actions[argparse.ArgumentParser]) -> None:
    """Declare `sample`."""
    parser = actions.add_parser(
        "sample",
        help="draw documents at random, for eyes",
        description=(
            "Write an HTML page with documents of the ledger, drawn at random and read again from the input: as they\n"
            "were and as the rules leave them."
        ),
        epilog="examples:\n  pangu corpus sample corpus --output sample.html\n"
        "  pangu corpus sample corpus --dropped-by advertisement --number 50 --output advertisement.html",
        formatter_class=_RAW,
    )
    parser.add_argument("corpus", type=Path, metavar="DIR", help="output folder of `pangu corpus run`")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the page")
    parser.add_argument("--number", type=int, default=20, metavar="N", help="of documents (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another draws others (default: %(default)s)")
    parser.add_argument("--dropped-by", metavar="RULE", help="only what fell to this; `stays` for texts that stay")
    parser.set_defaults(act=_sample)


def _inspect(arguments: argparse.Namespace) -> None:
    from pangu_alpha.corpus.inspecting import describe_step, fate, read_some, trace
    from pangu_alpha.corpus.load import load_recipe
    from pangu_alpha.corpus.sources.pieces import parse_inputs

    if arguments.documents < 1 or arguments.first < 0:
        raise ConfigError(f"--documents {arguments.documents} --first {arguments.first}: give 1 or more, and 0 or more")
    recipes = {name: load_recipe(name) for name in arguments.recipes}
    fates: dict[str, list[str]] = {}
    for recipe in recipes.values():
        inputs = parse_inputs(arguments.input, list(recipe.sources))
        for source, stored in read_some(inputs, recipe, arguments.first, arguments.documents):
            problem, steps = trace(stored, source, recipe)
            place = f"{stored.file}, {stored.offset}"
            fates.setdefault(place, []).append(fate(problem, steps))
            if len(recipes) == 1:
                print(f"--- {place}: {fate(problem, steps)}")
                print("\n".join(line for step in steps for line in describe_step(step, recipe)))
    if len(recipes) > 1:
        _print_side_by_side(list(recipes), fates)


def _print_side_by_side(recipes: list[str], fates: dict[str, list[str]]) -> None:
    width = max(map(len, [*recipes, *(fate for row in fates.values() for fate in row)]))
    print(" ".join(f"{name:{width}}" for name in recipes) + " document")
    for place, row in fates.items():
        print(" ".join(f"{fate:{width}}" for fate in row) + f" {place}")
    stay = [sum(row[index] == "stays" for row in fates.values()) for index in range(len(recipes))]
    print(" ".join(f"{f'{count} of {len(fates)} stay':{width}}" for count in stay))


def _report(arguments: argparse.Namespace) -> None:
    from pangu_alpha.corpus.reporting import count, draw

    counts = count(arguments.corpus)
    for source, fates in counts.fates.items():
        print(f"{source}: {fates.total():,} documents")
        for reason, number in fates.most_common():
            print(f"  {reason:26} {number:>12,} {number / fates.total():7.2%}")
    encodings = ", ".join(f"{name} {number:,}" for name, number in counts.encodings.most_common())
    print(f"encodings: {encodings}")
    duplicates = sum((size - 1) * number for size, number in counts.clusters.items())
    largest = max(counts.clusters, default=0)
    print(f"duplicates: {duplicates:,} in {counts.clusters.total():,} clusters, the largest of {largest:,} documents")
    for path in draw(counts, arguments.output or arguments.corpus / "report"):
        print(path)


def _sample(arguments: argparse.Namespace) -> None:
    from pangu_alpha.corpus.sampling import draw, write_page

    if arguments.number < 1:
        raise ConfigError(f"--number {arguments.number}: give 1 or more")
    drawn = draw(arguments.corpus, arguments.number, arguments.seed, arguments.dropped_by)
    write_page(drawn, arguments.output)
    print(f"{arguments.output}: {len(drawn)} documents")
