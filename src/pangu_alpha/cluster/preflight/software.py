"""Python and the installed packages."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import pangu_alpha
from pangu_alpha.cluster.preflight.finding import Finding, bad, ok

PROJECT = "pangu-alpha"
_MISSING = "missing"
_EXTRAS_OF_TRAINING = ("pictures", "tensorboard")


def check_software() -> list[Finding]:
    """Whether Python and every package are what this project asks for."""
    return [_python(), _packages()]


def versions() -> dict[str, str]:
    """Version of Python and of every package that this project asks for, and a hash of its own source."""
    packages = {requirement.name: _installed(requirement.name) for requirement in _requirements()}
    return {"Python": platform.python_version(), PROJECT: f"{pangu_alpha.__version__} ({_source_hash()})", **packages}


def _python() -> Finding:
    # Not in the file: the wheel's metadata always has it.
    wanted = SpecifierSet(metadata(PROJECT)["Requires-Python"])
    found = platform.python_version()
    if found in wanted:
        return ok("Python", found)
    return bad(
        "Python", f"{found}, not {wanted}", "make the environment with another Python: PYTHON=… bash scripts/install.sh"
    )


def _packages() -> Finding:
    requirements = _requirements()
    found = {requirement: _installed(requirement.name) for requirement in requirements}
    wrong = [
        f"{requirement.name} {version_} (not {requirement.specifier})"
        for requirement, version_ in found.items()
        if version_ == _MISSING or version_ not in requirement.specifier
    ]
    if wrong:
        return bad("packages", ", ".join(wrong), "pip install -r requirements.txt")
    shown = ", ".join(f"{name} {_installed(name)}" for name in ("mindspore", "numpy"))
    return ok("packages", f"{len(requirements)} as required, {shown}")


def _requirements() -> list[Requirement]:
    parsed = [Requirement(text) for text in requires(PROJECT) or ()]
    return [
        item
        for item in parsed
        if item.marker is None or any(item.marker.evaluate({"extra": extra}) for extra in ("", *_EXTRAS_OF_TRAINING))
    ]


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return _MISSING


def _source_hash() -> str:
    digest = hashlib.sha256()
    folder = Path(pangu_alpha.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]
