"""MindSpore takes its device once, before its first kernel: kernels here are compared with MindSpore's own."""

from __future__ import annotations

import pytest

from pangu_alpha.runtime.device import set_device


@pytest.fixture(scope="session", autouse=True)
def device() -> None:
    set_device("cpu")
