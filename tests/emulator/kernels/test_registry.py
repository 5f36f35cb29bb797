"""Every kernel is tested: its name is a word of the code of one of the files of this folder, not of a comment."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from pangu_alpha.emulator.kernels import KERNELS


def _names(source: str) -> Iterator[str]:
    """Texts and attributes that the code of the tests uses; docstrings and comments do not count."""
    tree = ast.parse(source)
    parents = (ast.Module, ast.FunctionDef, ast.ClassDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, parents) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value
        elif isinstance(node, ast.Attribute):
            yield node.attr


def test_every_kernel_has_a_test() -> None:
    files = (path for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__))
    named = {name for path in files for name in _names(path.read_text(encoding="utf-8"))}
    assert set(KERNELS) <= named, sorted(set(KERNELS) - named)


def test_a_name_in_a_comment_or_a_docstring_is_no_test() -> None:
    source = """
def test_it(run_kernel):
    "Erf and Erfc."
    # Sinh
    run_kernel("Cosh", ops.Tanh())
"""
    assert set(_names(source)) == {"Cosh", "Tanh"}
