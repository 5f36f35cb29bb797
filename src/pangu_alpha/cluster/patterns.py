"""Short ways to write many hosts and addresses: 10.0.[0-1].[1-16], 0-3,6 and 192.168.{100 + device % 4}.{d}."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import product

from pangu_alpha.errors import ClusterError

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
        ClusterError: a bracket has no range in it, or does not close.
    """
    choices = []
    for i, part in enumerate(re.split(r"\[(.*?)\]", pattern)):
        if i % 2 == 0 and not set("[]") & set(part):
            choices.append([part])
        elif i % 2 and (match := re.fullmatch(r"(\d+)-(\d+)", part)):
            first, last = match.groups()
            choices.append([f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1)])
        else:
            raise ClusterError(f"the bracket in {pattern!r} is not a range: write [1-16]")
    return ["".join(words) for words in product(*choices)]


def numbers_of(text: str) -> list[int]:
    """0-3,6 → [0, 1, 2, 3, 6].

    Raises:
        ClusterError: `text` is no such list.
    """
    if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", text):
        raise ClusterError(f"devices {text!r} is not a list of device numbers: write 0-7 or 0,1,2,3")
    bounds = [[int(end) for end in part.split("-")] for part in text.split(",")]
    return sorted({number for bound in bounds for number in range(bound[0], bound[-1] + 1)})


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

    def value(match: re.Match[str]) -> str:
        try:
            return str(_evaluate(_parsed(match[1].strip()), names))
        except (SyntaxError, ZeroDivisionError, LookupError) as error:
            raise ClusterError(
                f"{match[0]} in {pattern!r} cannot be computed ({error}): use whole numbers, {', '.join(names)} and "
                "+ - * // %"
            ) from error

    return re.sub(r"\{([^{}]*)\}", value, pattern)


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
