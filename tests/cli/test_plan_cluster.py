import json
import random
import re
from pathlib import Path

import pytest

from pangu_alpha.cli.main import main

EXAMPLES = Path(__file__).parents[2] / "hccl_configs"
SMALL = ("plan", "2b6", "model.num_layers=8", "--batch-size", "32")
JOB = ("plan", "200b_2048", "parallel.dp=4", "parallel.pp=4", "train.batch_size=64")
"""Of the 128 devices of an example."""
CLUSTER = """\
racks:
  rack0: [10.0.0.1, 10.0.0.2]
  rack1: [10.0.1.1, 10.0.1.2]
"""
CHIP = """\
name: chip with racks
tflops: {float16: 256}
memory_gib: 320
memory_gb_per_s: 1200
reserved_gib: 2
links:
  - {name: server, devices: 8, gb_per_s: 16, latency_us: 15}
  - {name: rack, devices: 16, gb_per_s: 10, latency_us: 30}
  - {name: network, devices: 131072, gb_per_s: 1, latency_us: 30}
efficiency: {products: 0.6, half_gflop: 10, memory: 0.7, fused: 0.44, overlap: 0.5}
sources: {all: made up}
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.yaml"
    path.write_text(CLUSTER, encoding="utf-8")
    return path


@pytest.fixture
def chip(tmp_path: Path) -> Path:
    path = tmp_path / "chip.yaml"
    path.write_text(CHIP, encoding="utf-8")
    return path


def output(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def seconds(text: str) -> float:
    """Of the layout in the first row."""
    found = re.search(r" ([\d.]+) (m?s) ", text)
    assert found
    return float(found[1]) / (1000 if found[2] == "ms" else 1)


def test_the_devices_and_their_links_are_those_of_the_file(
    cluster: Path, chip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = output(capsys, *SMALL, "--cluster", cluster, "--hardware", chip)
    _, said, links, _, header = text.splitlines()[:5]
    assert "32 × chip with racks" in said and header.split()[0] == "dp"
    assert links == "links: 8 devices a server, 4 servers in 2 racks of 2, from cluster.yaml"
    without = output(capsys, *SMALL, "--devices", "32")
    assert (
        without.splitlines()[2]
        == "links: ring of four (4), server (8), network, of consecutive ranks, from the profile"
    )


def test_a_cluster_as_the_profile_assumes_it_changes_nothing(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (*SMALL, "--devices", "32", "--explain", "dp=4,mp=8,pp=1")
    bare, known = (output(capsys, *words, *more).splitlines() for more in ((), ("--cluster", cluster)))
    assert bare[2] != known[2]
    assert bare[:2] + bare[3:] == known[:2] + known[3:]


def test_an_order_of_servers_that_costs_time_is_said(
    chip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example's table with its servers shuffled, and the profile's racks where no file says any."""
    table = json.loads((EXAMPLES / "hccl_128.json").read_text(encoding="utf-8"))
    random.Random(1).shuffle(table["server_list"])
    devices = [device for server in table["server_list"] for device in server["device"]]
    for rank, device in enumerate(devices):
        device["rank_id"] = str(rank)
    (tmp_path / "shuffled.json").write_text(json.dumps(table), encoding="utf-8")
    words = (*JOB, "--hardware", chip, "--explain", "dp=4", "--cluster", tmp_path / "shuffled.json")
    text = output(capsys, *words, "--racks", EXAMPLES / "inventory_128.yaml")
    assert "links: 8 devices a server, 16 servers in 4 racks of 4, from shuffled.json" in text
    (line,) = [line for line in text.splitlines() if line.startswith("the order of the servers costs time: ")]
    own, other = (float(number) for number in re.findall(r"([\d.]+) s ", line))
    assert own == pytest.approx(seconds(text), rel=0.01) and other < 0.9 * own
    assert "the order of the servers" not in output(capsys, *words)


def test_an_order_that_a_command_makes_is_named(chip: Path, cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pipelines of two stages, whose micro-batches are all that is sent: as the file has them, stages lie apart."""
    layout = ("--explain", "dp=16,mp=1,pp=2,micro=2,shard=false", "--hardware", chip, "--cluster", cluster)
    text = output(capsys, *SMALL, *layout)
    command = f"as `pangu ranktable make --from {cluster} --config RECIPE` orders them for this layout's recipe"
    line = next((line for line in text.splitlines() if line.startswith("the order of the servers")), "")
    assert command in line


def test_half_and_twice_of_what_a_cluster_leaves_open(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, *SMALL, "--cluster", cluster, "--what-if", "--sensitivity")
    assert "the winner with half or twice of one thing, on the devices of --cluster, and the days" in text
    assert " twice the batch " in text and " links half as fast " in text and "the devices  " not in text
    assert " L- " in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--devices", "64"],
            "--devices 64, and CLUSTER has 32 devices: leave --devices out, or give a file of as many",
        ),
        (["--days", "3"], "--days asks for other numbers of devices than the 32 of --cluster CLUSTER: leave one"),
        (["--scaling"], "--scaling asks for other numbers of devices than the 32 of --cluster CLUSTER: leave one"),
        (["--explain", "dp=2,mp=1,pp=1"], "dp(2) × mp(1) × pp(1) = 2 ≠ devices(32)"),
        (["--hardware", "CHIP"], "a level called"),
        (["--racks", "nowhere.txt"], "nowhere.txt: No such file or directory"),
    ],
)
def test_what_contradicts_the_file_is_refused(
    words: list[str], message: str, cluster: Path, chip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chip.write_text(CHIP.replace("server", "near").replace("rack,", "far,"), encoding="utf-8")
    words = [word.replace("CHIP", str(chip)) for word in words]
    assert main([*SMALL, "--cluster", str(cluster), *words]) == 2
    message = message.replace("CLUSTER", str(cluster)).replace("a level called", "no level of links of chip with racks")
    assert message in capsys.readouterr().err


def test_racks_of_no_servers_are_refused(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--racks", str(cluster)]) == 2
    assert "says the racks of the servers of --cluster: name that file too" in capsys.readouterr().err
