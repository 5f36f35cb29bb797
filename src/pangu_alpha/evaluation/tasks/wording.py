"""From an item to texts, from texts to tokens, and from which token on they are scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pangu_alpha.errors import ConfigError, DataError
from pangu_alpha.evaluation.tasks.task import Item, Task
from pangu_alpha.tokenizer import Tokenizer

LONG_FIELDS = {"passage": "start", "left": "end", "right": "start"}
"""Fields that may be long, and which part is kept when they are shortened: of a `left`, what is before the blank."""
_BROKEN = "\ufffd"


@dataclass(frozen=True)
class Candidate:
    """A text in tokens. The network pays for those from `start` on."""

    ids: tuple[int, ...]
    start: int
    context: str
    scored: str


@dataclass(frozen=True)
class Question:
    """An item as a network gets it."""

    task: Task
    item: Item
    candidates: tuple[Candidate, ...]
    """One a choice. In a generation task one, of which only the context is there, to be continued."""
    num_shots: int
    """Worked examples that had room."""
    limit: int | None
    """Characters that its long fields were shortened to; None: they are whole."""


def fill(template: str, item: Item, choice: str, limit: int | None = None) -> str:
    """`template` with the fields of `item`, long ones shortened to `limit` characters, and `choice`.

    Raises:
        ConfigError: the template names another field, or is none.
    """
    fields = {name: _shorten(name, text, limit) for name, text in item.fields.items()}
    try:
        return template.format_map({**fields, "choice": choice})
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        names = ", ".join(f"{{{name}}}" for name in (*fields, "choice"))
        raise ConfigError(f"the template {template!r} cannot be filled ({error}): this task has {names}") from error


def _shorten(name: str, text: str, limit: int | None) -> str:
    if limit is None or name not in LONG_FIELDS or len(text) <= limit:
        return text
    return text[:limit] if LONG_FIELDS[name] == "start" else text[len(text) - limit :]


def example(task: Task, item: Item) -> str:
    """A worked example: the item with its truth, and what separates it from what follows."""
    limit = task.shot_length or None
    parts = (task.context, task.scored)
    return "".join(fill(part, item, item.truth, limit) for part in parts) + task.separator


def ask(task: Task, item: Item, examples: Sequence[str], tokenizer: Tokenizer, window: int) -> Question:
    """`item` in tokens, within `window` of them.

    Where it is too long, examples go first, the last one before the others; then the long fields are shortened, all to
    the same number of characters and alike for all candidates.

    Raises:
        DataError: it does not fit even so, or a candidate holds nothing to score.
    """
    room = window - task.max_new_tokens if task.method == "generation" else window
    for number in range(len(examples), -1, -1):
        candidates = _candidates(task, item, "".join(examples[:number]), None, tokenizer)
        if _length(candidates) <= room:
            return Question(task, item, candidates, number, None)
    longest = max((len(text) for name, text in item.fields.items() if name in LONG_FIELDS), default=0)
    fits, fails = 0, longest
    while fails - fits > 1:
        limit = (fits + fails) // 2
        if _length(_candidates(task, item, "", limit, tokenizer)) <= room:
            fits = limit
        else:
            fails = limit
    if fits == 0:
        least = _length(_candidates(task, item, "", 1, tokenizer))
        made = f" and {task.max_new_tokens} new ones" if task.method == "generation" else ""
        raise DataError(
            f"{task.name}: item {item.id} has {least} tokens{made} without its long texts, but the network sees "
            f"{window}: measure a network with a larger seq_length, or leave the task out"
        )
    return Question(task, item, _candidates(task, item, "", fits, tokenizer), 0, fits)


def _length(candidates: Sequence[Candidate]) -> int:
    return max(len(candidate.ids) for candidate in candidates)


def _candidates(
    task: Task, item: Item, examples: str, limit: int | None, tokenizer: Tokenizer
) -> tuple[Candidate, ...]:
    if task.method == "generation":
        context = fill(task.context, item, "", limit)
        ids = tuple(tokenizer.encode(examples + context))
        return (Candidate(ids, len(ids), context, ""),)
    found = []
    for choice in item.choices or (item.truth,):
        context, scored = (fill(template, item, choice, limit) for template in (task.context, task.scored))
        ids = tuple(tokenizer.encode(examples + context + scored))
        start = first_scored(ids, examples + context, tokenizer)
        if start == len(ids):
            raise DataError(f"{task.name}: item {item.id} leaves nothing to score with the choice {choice!r}")
        found.append(Candidate(ids, start, context, scored))
    return from_the_same_token(found)


def first_scored(ids: Sequence[int], context: str, tokenizer: Tokenizer) -> int:
    """The first token of `ids` that holds a character after `context`, the text that they begin with.

    A tokenizer may cut differently when more text follows: in 30 % of random cuts the tokens of a beginning are not the
    beginning of the tokens. So the characters decide: a token that spans the end of the context is scored, whole. They
    are counted in decoded text, since the released tokenizer normalises.
    """
    before = tokenizer.encode(context)
    start = common_length(before, ids)
    if start == len(before):
        return start
    num_characters = len(tokenizer.decode(before))
    for number in range(start + 1, len(ids)):
        text = tokenizer.decode(ids[:number])
        if len(text.rstrip(_BROKEN)) > num_characters:
            break
        if not text.endswith(_BROKEN):  # else the token ends within a character
            start = number
    return start


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens both begin with."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((number for number, (one, other) in pairs if one != other), min(len(first), len(second)))


def from_the_same_token(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Let candidates with one context be scored from one place: else one pays for a token that another has free."""
    starts: dict[str, int] = {}
    firsts: dict[str, Candidate] = {}
    for candidate in candidates:
        first = firsts.setdefault(candidate.context, candidate)
        shared = candidate.start if first is candidate else common_length(first.ids, candidate.ids)
        known = starts.get(candidate.context, candidate.start)
        starts[candidate.context] = min(known, candidate.start, shared)
    return tuple(Candidate(one.ids, starts[one.context], one.context, one.scored) for one in candidates)
