import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pangu_alpha.errors import ConfigError
from pangu_alpha.planner.calibration import Measured, Timed, calibrated
from pangu_alpha.planner.communication import Message
from pangu_alpha.planner.hardware import Hardware, load_hardware
from pangu_alpha.planner.operators import Operator
from pangu_alpha.planner.pricing import message_seconds, operator_seconds
from pangu_alpha.topology.mesh import Mesh

CHIP = load_hardware("910a")


def measured_on(chip: Hardware) -> Measured:
    """The times of a chip that does exactly what its profile says."""
    products = [Operator("product", 2 * size**3, 0, 0, 0) for size in (512, 1024, 4096)]
    moves = [Operator("move", 0, number, 0, 0) for number in (10**6, 10**9)]
    every = chip.model_copy(update={"efficiency": chip.efficiency.model_copy(update={"fused": 1.0})})
    gathers = {}
    for level, mesh, axes in (
        ("ring of four", Mesh(1, 4, 1), ("mp",)),
        ("server", Mesh(2, 4, 1), ("dp",)),
        ("network", Mesh(4, 8, 1), ("dp",)),
    ):
        messages = [Message("forward", "AllGather", axes, number) for number in (10**5, 10**8)]  # type: ignore[arg-type]
        members = mesh.size(axes[0])  # type: ignore[arg-type]
        gathers[level] = members, [Timed(item.num_bytes, message_seconds(item, mesh, chip)) for item in messages]
    return Measured(
        "float16",
        [Timed(item.forward_flops, operator_seconds(item, "forward", every, "float16")) for item in products],
        [Timed(item.forward_bytes, operator_seconds(item, "forward", every, "float16")) for item in moves],
        gathers,
    )


def test_the_numbers_of_a_chip_are_found_again_from_its_times() -> None:
    other = load_hardware("910a").model_copy(
        update={
            "links": tuple(link.model_copy(update={"gb_per_s": 3.0, "latency_us": 77.0}) for link in CHIP.links),
            "efficiency": CHIP.efficiency.model_copy(update={"products": 0.2, "half_gflop": 1.0, "memory": 0.3}),
        }
    )
    found = calibrated(other, measured_on(CHIP), "here")
    for name in ("products", "half_gflop", "memory"):
        assert getattr(found.efficiency, name) == pytest.approx(getattr(CHIP.efficiency, name))
    for link, right in zip(found.links, CHIP.links, strict=True):
        assert (link.gb_per_s, link.latency_us) == (pytest.approx(right.gb_per_s), pytest.approx(right.latency_us))
    assert found.sources["measured"].endswith(": here")


def test_links_that_were_not_measured_stay() -> None:
    measured = measured_on(CHIP)
    near = replace(measured, gathers={"ring of four": measured.gathers["ring of four"]})
    assert calibrated(CHIP, near, "here").links[1:] == CHIP.links[1:]


def test_times_that_cannot_be_are_refused() -> None:
    measured = measured_on(CHIP)
    fast = [Timed(item.amount, item.seconds / 10) for item in measured.products]
    with pytest.raises(ConfigError, match=r"products: 6.00 of the profile's peak was reached.* correct tflops"):
        calibrated(CHIP, replace(measured, products=fast), "here")
    with pytest.raises(ConfigError, match="memory: more takes no longer"):
        calibrated(CHIP, replace(measured, moves=[Timed(1, 2.0), Timed(2, 1.0)]), "here")
    with pytest.raises(ConfigError, match="memory: one amount was measured"):
        calibrated(CHIP, replace(measured, moves=measured.moves[:1]), "here")


def test_the_program_measures_this_machine_and_writes_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    script = Path(__file__).resolve().parents[2] / "benchmarks" / "plan_calibrate.py"
    words = [sys.executable, str(script), "--device", "cpu", "--dtype", "float32", "--output", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"profile in {path}")
    found = load_hardware(str(path))
    assert found.links == CHIP.links and "1 process(es)" in found.sources["measured"]
    assert found.efficiency.fused == CHIP.efficiency.fused
    for name in ("products", "memory"):
        assert 0 < getattr(found.efficiency, name) != getattr(CHIP.efficiency, name)
    again = subprocess.run(words, capture_output=True, text=True, check=False)
    assert again.returncode == 2 and "is there already" in again.stderr
