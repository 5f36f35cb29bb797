"""Versions of the code that programs and verdicts come from: what was kept under another version is made again.

A version is a hash of every source file that is reached by imports from the modules named here, read from the sources
and not from lists, so that nothing can be forgotten: imports inside functions count, and so does a package's
`__init__.py`. Of Python it is the statements that count, not comments, docstrings and line ends: to find all verdicts
again takes hours. The files beside them that are not Python, such as the stand-in's C++, count whole.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pangu_alpha

_PACKAGE = pangu_alpha.__name__
_FOLDER = Path(pangu_alpha.__file__).parent
PROGRAM_MAKERS = ("pangu_alpha.compiler.pool",)
"""With the process that it starts, `server.py`."""
VERDICT_MAKERS = ("pangu_alpha.verification.parity",)
PROGRAM_PACKAGES = ("mindspore",)
VERDICT_PACKAGES = ("mindspore", "ml_dtypes", "numpy", "protobuf", "scipy", "threadpoolctl")
"""Packages of others whose versions change what comes out."""


def program_version() -> str:
    """Changes when the code that a program comes from changes."""
    return _version(PROGRAM_MAKERS, PROGRAM_PACKAGES)


def verdict_version() -> str:
    """Changes when anything changes that a verdict rests on: programs, interpreter, kernels, comparisons, cases."""
    return _version(VERDICT_MAKERS, VERDICT_PACKAGES)


def import_closure(modules: Iterable[str]) -> dict[str, Path]:
    """Every module of this project that `modules` import, directly or not, and themselves: name → source file."""
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _source(name)
        if path is None or name in found:
            continue
        found[name] = path
        waiting += [name.rpartition(".")[0], *imported_names(path.read_bytes())]
    return found


@cache
def imported_names(source: bytes) -> tuple[str, ...]:
    """What a source text imports, of this project and of others; of `from a import b` both a and a.b."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


def _source(name: str) -> Path | None:
    """The file of a module of this project; None for anything else."""
    package, *parts = name.split(".")
    if package != _PACKAGE:
        return None
    path = _FOLDER.joinpath(*parts)
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return path if path.is_file() else None


def _version(makers: Iterable[str], packages: Iterable[str]) -> str:
    sources = set(import_closure(makers).values())
    others = {
        path
        for folder in {source.parent for source in sources}
        for path in folder.iterdir()
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    digest = hashlib.sha256(repr([version(package) for package in packages]).encode())
    for path in sorted(sources | others):
        digest.update(f"{path.relative_to(_FOLDER)}\0".encode())
        content = path.read_bytes()
        digest.update(hashlib.sha256(_statements(content) if path.suffix == ".py" else content).digest())
    return digest.hexdigest()


@cache
def _statements(source: bytes) -> bytes:
    """What a source text does, without its docstrings, in a form that depends on the version of Python alone."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [statement for statement in body if not _is_docstring(statement)]  # type: ignore[attr-defined]
    return ast.dump(tree).encode()


def _is_docstring(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
