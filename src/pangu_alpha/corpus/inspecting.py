"""`pangu corpus inspect`: what each rule of a recipe does to a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from pangu_alpha.corpus.recipe import Recipe
from pangu_alpha.corpus.rules import RULES
from pangu_alpha.corpus.sources import Stored, plan_pieces, read_piece
from pangu_alpha.corpus.sources.text_of import text_of

_MAX_LINE = 100
"""Characters of a line that are shown."""


@dataclass(frozen=True)
class Step:
    """A rule and a document."""

    rule: str
    value: float
    stays: bool
    before: str
    after: str


def read_some(
    inputs: Sequence[tuple[str, Path]], recipe: Recipe, first: int, count: int
) -> Iterator[tuple[str, Stored]]:
    """`count` documents from number `first` on, in the order in which the corpus reads them, with their sources."""
    number = 0
    for piece in plan_pieces(inputs, list(recipe.sources), recipe.limits.piece_bytes):
        for stored in read_piece(piece, recipe.limits.document_bytes, recipe.sources[piece.source].fields):
            if number >= first + count:
                return
            if number >= first:
                yield piece.source, stored
            number += 1


def trace(stored: Stored, source: str, recipe: Recipe) -> tuple[str, list[Step]]:
    """Why the document has no text, or ""; and what each rule of its source does, also after one has dropped it."""
    found = text_of(stored, recipe.sources[source].fields, recipe.limits.html_depth)
    text, steps = found.text, []
    for name in recipe.rules_of(source) if not found.problem else ():
        after, value, stays = RULES[name].apply(text, recipe.rules[name])
        steps.append(Step(name, value, stays, text, after))
        text = after
    return found.problem, steps


def fate(problem: str, steps: Sequence[Step]) -> str:
    """What drops the document; "stays" when nothing does."""
    return problem or next((step.rule for step in steps if not step.stays), "stays")


def describe_step(step: Step, recipe: Recipe) -> list[str]:
    """Lines for a person: the rule, its number and bounds, and the lines of the text that it took or changed."""
    bounds = {key: recipe.rules[step.rule].get(key) for key in ("min", "max")}
    said = ", ".join(f"{key} {value:g}" for key, value in bounds.items() if value is not None)
    lines = [f"{'' if step.stays else '✗':1} {step.rule:26} {step.value:10.4g}  {said}"]
    if step.before != step.after:
        changes = list(unified_diff(step.before.split("\n"), step.after.split("\n"), n=0, lineterm=""))[2:]
        lines += [
            f"      {line[0]} {line[1 : _MAX_LINE + 1]}{'…' if len(line) > _MAX_LINE else ''}"
            for line in changes
            if line[0] in "-+"
        ]
    return lines
