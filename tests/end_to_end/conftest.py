"""The run that others are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import TinyProject


@pytest.fixture(scope="session")
def reference_run(tiny_project: TinyProject) -> str:
    """Output directory of an uninterrupted training of 300 steps."""
    done = tiny_project.pangu("train", "recipe.yaml", "output=reference")
    assert done.returncode == 0, done.stderr
    return "reference"
