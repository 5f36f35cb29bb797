"""YAML that says one thing: a key once, numbers as people write them, no dates, no tags, and of a size that is meant.

YAML 1.1 takes the last of two equal keys, reads `010` as 8 and `1:30` as 90, and makes a date of 2024-01-01.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from pangu_alpha.reading.files import read_text
from pangu_alpha.reading.numbers import MAX_DIGITS

MAX_BYTES = 8 << 20
"""Of a file: an inventory that lists the 8 addresses of each of 10,000 servers has 1.3 MB."""
_MAX_DEPTH = 100
"""Of nesting: the library's C code overflows its stack at some tens of thousands."""
_MAX_VALUES = 300_000
"""In a file; those behind an alias (`*name`) count each time that it is there: few lines can mean billions."""
_TAG = "tag:yaml.org,2002:"
_PLAIN_TEXT = (f"{_TAG}timestamp", f"{_TAG}value")
"""What YAML 1.1 makes of `2024-01-01` and of `=`; here they are text."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    yaml_implicit_resolvers = {  # noqa: RUF012 (the library's own attribute)
        first: [(tag, pattern) for tag, pattern in pairs if tag not in _PLAIN_TEXT]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read_yaml(path: Path) -> Any:
    """What the YAML file `path` holds; None when it is empty.

    Raises:
        OSError: it cannot be read, or is too large to be a recipe or an inventory.
        ValueError: it is not UTF-8, or not YAML as `parse_yaml` wants it.
    """
    return parse_yaml(read_text(path, MAX_BYTES))


def parse_yaml(text: str) -> Any:
    """What `text` says in YAML.

    Raises:
        ValueError: it is not YAML, a key is there twice, a number is written so that YAML reads another one, or it
            means too much. The message names the line.
    """
    try:
        _check_size(text)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _count_values(node, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ValueError(f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}") from error
    except (yaml.YAMLError, UnicodeEncodeError) as error:  # characters that YAML does not allow
        raise ValueError(" ".join(str(error).split())) from error


def _check_size(text: str) -> None:
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=_Loader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise ValueError(f"{_line(event)}: lists and sections are nested more than {_MAX_DEPTH} deep")
        if number > _MAX_VALUES:
            raise ValueError(f"{_line(event)}: more than {_MAX_VALUES:,} values")
        if getattr(event, "tag", None) is not None:
            raise ValueError(f"{_line(event)}: the tag {event.tag.replace(_TAG, '!!')} is not used here: leave it out")


def _count_values(node: yaml.Node, counts: dict[int, int]) -> int:
    """The values that `node` means, after a check of each. `counts` has those of the nodes that were seen before."""
    if id(node) in counts:
        if not counts[id(node)]:
            raise ValueError(f"{_line(node)}: the anchor holds itself")
        return counts[id(node)]
    counts[id(node)] = 0
    children = []
    if isinstance(node, yaml.MappingNode):
        _refuse_repeats(node)
        children = [child for pair in node.value for child in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    else:
        _check_scalar(node)
    counts[id(node)] = 1 + sum(_count_values(child, counts) for child in children)
    if counts[id(node)] > _MAX_VALUES:
        raise ValueError(f"{_line(node)}: with its aliases it means more than {_MAX_VALUES:,} values")
    return counts[id(node)]


def _refuse_repeats(node: yaml.MappingNode) -> None:
    lines: dict[str, str] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise ValueError(f"{_line(key)}: a list or a section stands where a key belongs: write a word")
        if key.value in lines:
            raise ValueError(
                f"{key.value!r} is there twice, in {lines[key.value]} and in {_line(key)}: keep one of them"
            )
        lines[key.value] = _line(key)


def _check_scalar(node: yaml.ScalarNode) -> None:
    text = node.value
    if "\0" in text:
        raise ValueError(f"{_line(node)}: {text[:40]!r} holds the character 0, which no name or path may")
    if node.tag == f"{_TAG}int" and len(text) > MAX_DIGITS + 1:
        raise ValueError(f"{_line(node)}: the number {text[:MAX_DIGITS]}… has {len(text):,} digits")
    is_other = node.tag == f"{_TAG}int" and not re.fullmatch(r"[-+]?(0|[1-9][0-9_]*)", text)
    if is_other or (node.tag == f"{_TAG}float" and ":" in text):
        raise ValueError(
            f"{_line(node)}: {text[:40]} is another number in YAML than it looks (after a 0 it is octal, a colon "
            "counts minutes): write plain digits, or put it in quotes if it is a name"
        )


def _line(place: yaml.Node | yaml.Event) -> str:
    return f"line {place.start_mark.line + 1}"
