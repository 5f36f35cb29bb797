from __future__ import annotations

from typing import Any

import pytest

from pangu_alpha.cluster.preflight.devices import Npu, check_devices, read_npu_smi

# As npu-smi 24.1.1 prints two 910B4 and the processes on them.
IDLE = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 24.1.1                   Version: 24.1.1                                               |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B4               | OK            | 88.2        30                0    / 0             |
| 0                         | 0000:C1:00.0  | 0           0    / 0          2871 / 32768         |
+===========================+===============+====================================================+
| 1     910B4               | OK            | 87.0        30                0    / 0             |
| 0                         | 0000:C2:00.0  | 0           0    / 0          2870 / 32768         |
+===========================+===============+====================================================+
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| No running processes found in NPU 0                                                            |
+===========================+===============+====================================================+
| No running processes found in NPU 1                                                            |
+===========================+===============+====================================================+
"""
BUSY = IDLE.replace(
    "| No running processes found in NPU 1                                                            |",
    "| 1       0                 | 48988         | python                   | 13330                   |\n"
    "| 1       0                 | 48990         |                          | 2330                    |",
)
# Cards with two dies (A3): the device id is the physical one.
TWO_DIES = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 25.3.rc1                 Version: 25.3.rc1                                             |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip  Phy-ID              | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     Ascend910           | OK            | 163.6       30                0    / 0             |
| 0     0                   | 0000:9D:00.0  | 0           0    / 0          3180 / 65536         |
+------------------------------------------------------------------------------------------------+
| 0     Ascend910           | OK            | -           30                0    / 0             |
| 1     1                   | 0000:9F:00.0  | 0           0    / 0          2896 / 65536         |
+===========================+===============+====================================================+
| 1     Ascend910           | Warning       | 164.5       29                0    / 0             |
| 0     2                   | 0000:99:00.0  | 0           0    / 0          2896 / 65536         |
+------------------------------------------------------------------------------------------------+
| 1     Ascend910           | OK            | -           29                0    / 0             |
| 1     3                   | 0000:9B:00.0  | 0           0    / 0          2896 / 65536         |
+===========================+===============+====================================================+
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| 1       1                 | 2759218       | python                   | 56293                   |
+===========================+===============+====================================================+
"""


@pytest.fixture
def npu_smi(executable: Any) -> Any:
    """Puts an `npu-smi` on PATH that prints the given text."""
    return lambda text, code=0: executable("npu-smi", f"#!/bin/sh\ncat <<'END'\n{text}END\nexit {code}\n")


def test_the_table_is_read() -> None:
    assert read_npu_smi(IDLE) == [Npu(0, "OK", ()), Npu(1, "OK", ())]
    assert read_npu_smi(BUSY) == [Npu(0, "OK", ()), Npu(1, "OK", (48988, 48990))]
    assert read_npu_smi(TWO_DIES) == [
        Npu(0, "OK", ()),
        Npu(1, "OK", ()),
        Npu(2, "Warning", ()),
        Npu(3, "OK", (2759218,)),
    ]


def test_good_devices(npu_smi: Any) -> None:
    npu_smi(IDLE)
    findings, facts = check_devices("ascend", [0, 1])
    assert [finding.state for finding in findings] == ["ok"]
    assert facts == {"NPU driver": "24.1.1", "number of NPUs": "2"}


def test_sick_and_busy_devices_are_named(npu_smi: Any) -> None:
    npu_smi(TWO_DIES)
    sick, busy = check_devices("ascend", None)[0]
    assert (sick.state, sick.found) == ("bad", "2 (Warning)")
    assert (busy.state, busy.found) == ("bad", "used by process 2759218")
    # What the job does not use does not matter.
    assert [finding.state for finding in check_devices("ascend", [0, 1])[0]] == ["ok"]


def test_missing_devices_are_named(npu_smi: Any) -> None:
    npu_smi(IDLE)
    (finding,) = check_devices("ascend", range(4))[0]
    assert (finding.state, finding.found) == ("bad", "2, 3 of 4 devices missing")
    npu_smi("")
    assert check_devices("ascend", None)[0][0].state == "bad"


def test_a_driver_that_fails(npu_smi: Any) -> None:
    npu_smi("dcmi model initialized failed, because the device is used.\n", 1)
    (finding,) = check_devices("ascend", None)[0]
    assert finding.state == "bad"
    assert "`npu-smi info` failed" in finding.found


def test_without_npus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert check_devices("cpu", [0])[0][0].state == "skipped"
    assert check_devices("ascend", None)[0][0].state == "skipped"
    (finding,) = check_devices("ascend", range(8))[0]
    assert finding.state == "bad"
    assert "8 devices" in finding.found


def test_gpus_are_said_not_to_be_looked_at() -> None:
    (finding,), _ = check_devices("gpu", None)
    assert (finding.state, finding.what) == ("skipped", "GPUs") and "the training says at its start" in finding.found
