"""Short ways to write many hosts and addresses: 10.0.[0-1].[1-16], 0-3,6 and 192.168.{100 + device % 4}.{d}."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import product
from math import prod

from pangu_alpha.errors import ClusterError
from pangu_alpha.reading import whole_number

MAX_NAMES = 100_000
"""That one pattern, or one list of numbers, may stand for: no cluster has as many servers."""
_MAX_PATTERN = 200
"""Characters of a pattern: what an address can follow from is shorter."""
_MAX_LABEL = 63
"""Characters between two dots of a name (RFC 1035, section 2.3.4)."""
_NAME = re.compile(r"(?:\w[\w.+-]*@)?[\w:][\w.:%-]*")

_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def expand(pattern: str) -> list[str]:
    """10.0.[0-1].[1-2] → 10.0.0.1, 10.0.0.2, 10.0.1.1, 10.0.1.2. Leading zeros are kept: node[08-10].

    Raises:
        ClusterError: a bracket has no range in it or does not close, the pattern stands for too many names, or what it
            stands for is no name of a host.
    """
    _check_length(pattern)
    choices = []
    for i, part in enumerate(re.split(r"\[(.*?)\]", pattern)):
        if i % 2 == 0 and not set("[]") & set(part):
            choices.append([part])
        elif i % 2 and (match := re.fullmatch(r"([0-9]+)-([0-9]+)", part)):
            width = len(match[1])
            choices.append([f"{number:0{width}}" for number in _span(match[1], match[2], pattern)])
        else:
            raise ClusterError(f"the bracket in {pattern!r} is not a range: write [1-16]")
    num_names = prod(map(len, choices))
    if num_names > MAX_NAMES:
        raise ClusterError(f"{pattern!r} stands for {num_names:,} names, and no cluster has more than {MAX_NAMES:,}")
    names = ["".join(words) for words in product(*choices)]
    check_host_name(names[0])  # the others differ from it in digits
    return names


def check_host_name(name: str) -> None:
    """Refuse what ssh takes for an option, a file system for a path, or a terminal for a command.

    Raises:
        ClusterError: `name` is no name, address or USER@NAME of a host.
    """
    if not is_host_name(name):
        raise ClusterError(
            f"{name[:_MAX_PATTERN]!r} is not the name of a host: write a name or an address of letters, digits, . : -"
        )


def is_host_name(name: str) -> bool:
    """Whether `name` may be the name, the address or USER@NAME of a host."""
    if len(name) > _MAX_PATTERN or _NAME.fullmatch(name) is None:
        return False
    labels = name.rpartition("@")[2].removesuffix(".").split(".")
    return all(0 < len(label) <= _MAX_LABEL for label in labels)


def numbers_of(text: str) -> list[int]:
    """0-3,6 → [0, 1, 2, 3, 6].

    Raises:
        ClusterError: `text` is no such list, or stands for too many numbers.
    """
    if not re.fullmatch(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*", text):
        raise ClusterError(f"devices {text[:_MAX_PATTERN]!r} is not a list of device numbers: write 0-7 or 0,1,2,3")
    _check_length(text)
    bounds = [part.split("-") for part in text.split(",")]
    return sorted({number for bound in bounds for number in _span(bound[0], bound[-1], text)})


def ranges(numbers: Iterable[int]) -> str:
    """The reverse of `numbers_of`: [0, 1, 2, 3, 6] → 0-3,6."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ",".join("-".join(str(end) for end in run) for run in runs)


def fill(pattern: str, names: Mapping[str, int]) -> str:
    """`pattern` with each {expression} replaced by its value: whole numbers, `names`, + - * // % and parentheses.

    Raises:
        ClusterError: an expression is something else.
    """
    _check_length(pattern)

    def value(match: re.Match[str]) -> str:
        try:
            return str(_evaluate(_parsed(match[1].strip()), names))
        except (SyntaxError, ZeroDivisionError, LookupError) as error:
            raise ClusterError(
                f"{match[0]} in {pattern!r} cannot be computed ({error}): use whole numbers, {', '.join(names)} and "
                "+ - * // %"
            ) from error

    return re.sub(r"\{([^{}]*)\}", value, pattern)


def _check_length(pattern: str) -> None:
    if len(pattern) > _MAX_PATTERN:
        raise ClusterError(
            f"{pattern[:40]!r}… has {len(pattern):,} characters, and a pattern at most {_MAX_PATTERN}: correct it"
        )


def _span(first: str, last: str, pattern: str) -> range:
    low, high = whole_number(first), whole_number(last)
    if low is None or high is None or not 0 <= high - low < MAX_NAMES:
        raise ClusterError(
            f"the range {first}-{last} in {pattern!r} goes from the smaller number to the larger, over at most "
            f"{MAX_NAMES:,} of them: correct it"
        )
    return range(low, high + 1)


@cache  # A pattern is filled for each of thousands of devices.
def _parsed(expression: str) -> ast.expr:
    return ast.parse(expression, mode="eval").body


def _evaluate(node: ast.expr, names: Mapping[str, int]) -> int:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_evaluate(node.left, names), _evaluate(node.right, names))
    if isinstance(node, ast.Name):
        if node.id not in names:
            raise LookupError(f"{node.id} is unknown")
        return names[node.id]
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    raise LookupError(f"{ast.unparse(node)} is not allowed")
