import pytest

from pangu_alpha.planner.communication import Message
from pangu_alpha.planner.hardware import Efficiency, Hardware, Link, load_hardware
from pangu_alpha.planner.operators import Operator
from pangu_alpha.planner.pricing import message_seconds, operator_seconds
from pangu_alpha.topology.mesh import Axis, Mesh

GB = 10**9
CHIP = Hardware(
    name="simple",
    tflops={"float16": 100},
    memory_gib=32,
    memory_gb_per_s=1000,
    reserved_gib=0,
    links=(
        Link(name="near", devices=8, gb_per_s=10, latency_us=0),
        Link(name="far", devices=1024, gb_per_s=1, latency_us=0),
    ),
    efficiency=Efficiency(products=0.5, half_gflop=10, memory=0.5, fused=0.5, overlap=0),
    sources={"all": "made up"},
)


def test_a_product_takes_the_longer_of_operations_and_bytes() -> None:
    # 90 GFLOP of a peak of 100 TFLOPS, of which it reaches 0.5 · 90 ÷ (90 + 10).
    computing = Operator("p", 90 * GB, 1, 180 * GB, 2)
    assert operator_seconds(computing, "forward", CHIP, "float16") == pytest.approx(90e9 / (100e12 * 0.45))
    assert operator_seconds(computing, "backward", CHIP, "float16") == pytest.approx(2 * 90e9 / (100e12 * 0.45))
    moving = Operator("p", 1000, 50 * GB, 2000, 100 * GB)
    assert operator_seconds(moving, "forward", CHIP, "float16") == pytest.approx(0.1)


def test_what_is_made_again_is_paid_in_the_backward_pass() -> None:
    once, again = (Operator("e", 0, 10 * GB, 0, 20 * GB, is_recomputed) for is_recomputed in (False, True))
    assert operator_seconds(once, "backward", CHIP, "float16") == pytest.approx(0.02)
    assert operator_seconds(again, "backward", CHIP, "float16") == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("kind", "axes", "seconds"),
    [
        ("AllGather", ("mp",), 7 / 8 / 10),  # 1 GB inside a server
        ("ReduceScatter", ("mp",), 7 / 8 / 10),
        ("AllReduce", ("mp",), 2 * 7 / 8 / 10),
        ("AllGather", ("dp",), 3 / 4 / 1),  # every member in another server
        ("AllReduce", ("dp", "mp"), 2 * (7 / 8 / 10 + 3 / 4 / 8 / 1)),  # each of a server's 8 sends an eighth
        ("Send", ("pp",), 1 / 1),
    ],
)
def test_a_collective_is_priced_on_the_links_that_it_crosses(kind: str, axes: tuple[Axis, ...], seconds: float) -> None:
    mesh = Mesh(dp=4, mp=8, pp=2)
    assert message_seconds(Message("forward", kind, axes, GB), mesh, CHIP) == pytest.approx(seconds)


def test_a_stage_of_half_a_server_sends_inside_it() -> None:
    message = Message("pipeline", "Send", ("pp",), GB)
    assert message_seconds(message, Mesh(dp=1, mp=4, pp=2), CHIP) == pytest.approx(0.1)
    # Of four such stages the second sends to another server, and all wait for it.
    assert message_seconds(message, Mesh(dp=1, mp=4, pp=4), CHIP) == pytest.approx(1.0)


def test_each_message_has_its_latency() -> None:
    mesh, chip = Mesh(dp=1, mp=4, pp=1), load_hardware("910a")
    one = message_seconds(Message("forward", "AllReduce", ("mp",), GB), mesh, chip)
    ten = message_seconds(Message("forward", "AllReduce", ("mp",), GB, count=10), mesh, chip)
    assert ten - one == pytest.approx(9 * 2 * 3 * 10e-6)
