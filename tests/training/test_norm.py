"""The squared norm of the gradients, as a CPU computes it with fused operators."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import user_environment

START = """
from pangu_alpha.runtime.device import prepare_environment, set_device
prepare_environment(verbose=False)
import mindspore as ms
import numpy as np
from pangu_alpha.training.norm import SquaredNorm
set_device("cpu", fuse_operators=True)
gradients = tuple(ms.Tensor(np.full(shape, 0.5, np.float32)) for shape in ((8, 4), (4,), (2, 8), (6,)))
print(SquaredNorm([1.0, 0.5, 1.0, 1.0])(gradients))
"""


def test_a_second_start_builds_no_kernel(tmp_path: Path) -> None:
    """MindSpore describes a fused Reshape to a scalar by memory that it has not set: a new kernel at every start."""
    kernels = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", START],
            env={**user_environment(), "XDG_CACHE_HOME": str(tmp_path)},
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert float(done.stdout.split()[-1]) == 0.25 * (32 + 2 + 16 + 6)
        kernels.append({path.name for path in (tmp_path / "pangu_alpha" / "akg_kernel_meta").glob("*.so")})
    assert kernels[0] == kernels[1] != set()
