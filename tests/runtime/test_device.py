from __future__ import annotations

from pathlib import Path

import pytest

from pangu_alpha.errors import DeviceError
from pangu_alpha.runtime.device import set_device


@pytest.mark.parametrize(("device", "library"), [("ascend", "libge_runner"), ("gpu", "libcu")])
def test_a_missing_device_is_named_with_its_library(device: str, library: str) -> None:
    import mindspore as ms

    if ms.hal.is_available({"ascend": "Ascend", "gpu": "GPU"}[device]):
        pytest.skip(f"this machine has the device {device}")
    with pytest.raises(DeviceError, match=library) as error:
        set_device(device)  # type: ignore[arg-type]
    assert "set device=cpu" in str(error.value)


def test_the_next_network_of_a_process_is_not_fused_because_the_last_one_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mindspore as ms

    monkeypatch.setenv("MS_COMPILER_CACHE_PATH", str(tmp_path))
    set_device("cpu", fuse_operators=True)
    assert ms.get_context("enable_graph_kernel")
    set_device("cpu")
    assert not ms.get_context("enable_graph_kernel")
