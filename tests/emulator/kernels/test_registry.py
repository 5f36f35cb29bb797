"""Every kernel is tested: its name stands in one of the files of this folder."""

from __future__ import annotations

import re
from pathlib import Path

from pangu_alpha.emulator.kernels import KERNELS


def test_every_kernel_has_a_test() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    named = set(re.findall(r"[A-Z]\w+", text))
    assert set(KERNELS) <= named, sorted(set(KERNELS) - named)
