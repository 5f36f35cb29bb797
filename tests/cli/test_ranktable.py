from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from pangu_alpha.cli.main import main
from pangu_alpha.cluster.rank_tables.rank_table import read_rank_table

EXAMPLES = Path(__file__).parents[2] / "hccl_configs"
MESH = ["--config", "200b_2048", "parallel.dp=4", "parallel.pp=4"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _pangu(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["ranktable", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_make_check_and_show(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inventory = str(EXAMPLES / "inventory_128.yaml")
    code, out, err = _pangu(capsys, "make", "--from", inventory, "--output", "t.json", *MESH)
    assert (code, out) == (0, "t.json: 128 device(s) on 16 server(s), format 1.0\n")
    assert "node_00 to node_15" in err
    (folder / "hosts.txt").write_text("10.0.[0-3].[1-4]\n")
    code, out, err = _pangu(capsys, "check", "t.json", "--hosts", "hosts.txt", *MESH)
    assert (code, out) == (0, "t.json: no problems; 128 device(s) on 16 server(s), format 1.0\n")
    code, out, err = _pangu(capsys, "show", "t.json", "--racks", inventory, "--draw", "t.svg", *MESH)
    lines = out.splitlines()
    assert lines[2].split() == ["node_00", "10.0.0.1", "rack0", "0-7", "0-7", "0", "0", "0-7"]
    assert lines[17].split() == ["node_15", "10.0.3.4", "rack3", "120-127", "0-7", "3", "3", "0-7"]
    rows = [line.split() for line in lines if line.startswith("pp: 32 of 4")]
    assert rows[0][4:] == ["table", "96", "0", "96", "0", "0"]
    assert rows[1][4] == "random" and int(rows[1][8]) > 48
    assert "drawn in t.svg" in err and (folder / "t.svg").is_file()


def test_check_names_each_problem_in_a_line_and_exits_with_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads((EXAMPLES / "hccl_16.json").read_text())
    document["server_list"][1]["device"][0]["device_ip"] = "192.168.100.101"
    document["status"] = "initializing"
    (folder / "t.json").write_text(json.dumps(document))
    (folder / "hosts.txt").write_text("10.0.0.1\n")
    code, out, err = _pangu(capsys, "check", "t.json", "--config", "2b6", "parallel.dp=4", "--hosts", "hosts.txt")
    assert code == 2
    assert out.splitlines() == [
        "status: is 'initializing', not 'completed'; wait until the scheduler has filled the table, or make it again",
        "server 10.0.0.2, device 0: device_ip 192.168.100.101 is also that of server 10.0.0.1, device 0; "
        "correct one of them: every device has its own address",
        "mesh: dp(4) × mp(8) × pp(1) = 32 ≠ devices(16); change parallel.dp, mp or pp until the product is the number "
        "of devices, or use another rank table",
        "server 10.0.0.2: 10.0.0.2 is not in the hosts file; add it there, or make a new rank table",
    ]
    assert err == "pangu: t.json: 4 problem(s)\n"


def test_merge_joins_and_numbers_anew(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for server in (2, 1):
        (folder / "hccn.conf").write_text("".join(f"address_{d}=192.168.{100 + d}.{server}\n" for d in range(8)))
        words = ("--server-id", f"10.0.0.{server}", "--hccn-conf", "hccn.conf", "--output", f"{server}.json")
        assert _pangu(capsys, "make", "--from", "host", *words)[0] == 0
    code, out, _ = _pangu(capsys, "merge", "2.json", "1.json", "--output", "both.json")
    assert (code, out) == (0, "both.json: 16 device(s) on 2 server(s), format 1.0\n")
    table = read_rank_table(folder / "both.json")
    assert [server.server_id for server in table.servers] == ["10.0.0.1", "10.0.0.2"]
    assert table.by_rank[8][1].device_ip == "192.168.100.2"
    code, _, err = _pangu(capsys, "merge", "1.json", "1.json", "--output", "twice.json")
    assert code == 2
    assert "server 10.0.0.1: the server is listed 2 times" in err
    assert not (folder / "twice.json").exists()


def test_merge_refuses_mixed_formats(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--from", str(EXAMPLES / "hccl_8.json"), "--format", "2.0", "--output", "second.json")
    assert _pangu(capsys, "make", *words)[0] == 0
    code, _, err = _pangu(capsys, "merge", str(EXAMPLES / "hccl_8.json"), "second.json", "--output", "t.json")
    assert code == 2
    assert "mixed formats" in err and "has version 1.0, second.json has 2.0" in err


@pytest.mark.parametrize("version", ["1.0", "1.2", "2.0"])
def test_make_writes_every_format(version: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "hosts.txt").write_text("10.0.0.[1-2] rack=pod0\n10.0.0.3 rack=pod1\n")
    patterns = ("--device-ip", "192.168.{device}.{d}") + (
        ("--super-device-id", "{server * 16 + device}") if version == "1.2" else ()
    )
    code, out, err = _pangu(capsys, "make", "--from", "hosts.txt", *patterns, "--format", version, "--output", "t.json")
    assert (code, out) == (0, f"t.json: 24 device(s) on 3 server(s), format {version}\n"), err
    assert _pangu(capsys, "check", "t.json")[0] == 0
    document = json.loads((folder / "t.json").read_text())
    assert document["version"] == version
    if version == "1.2":
        assert [pod["super_pod_id"] for pod in document["super_pod_list"]] == ["pod0", "pod1"]


def test_a_table_of_another_kind_of_cluster_is_an_inventory(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The hccl.json of a scheduler, ordered for a mesh, with the racks of a hosts file."""
    (folder / "racks.txt").write_text("10.0.0.1 rack=a\n10.0.0.2 rack=a\n10.0.0.3 rack=b\n10.0.0.4 rack=b\n")
    make = ("make", "--from", "racks.txt", "--device-ip", "192.168.{device}.{d}", "--output", "hccl.json")
    assert _pangu(capsys, *make)[0] == 0
    words = ("--racks", "racks.txt", "--config", "2b6", "parallel.dp=2", "parallel.pp=2", "--output", "t.json")
    code, _, err = _pangu(capsys, "make", "--from", "hccl.json", *words)
    assert code == 0, err
    table = read_rank_table(folder / "t.json")
    assert [server.address for server in table.servers] == ["10.0.0.1", "10.0.0.3", "10.0.0.2", "10.0.0.4"]
    code, _, err = _pangu(capsys, "make", "--from", "hccl.json", *words[:-1], "k.json", "--keep-server-ids")
    assert [s.server_id for s in read_rank_table(folder / "k.json").servers] == [f"10.0.0.{s}" for s in (1, 2, 3, 4)]
    assert "in the order of their ids" in err


def test_devices_are_chosen(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inventory = str(EXAMPLES / "inventory_16.yaml")
    assert _pangu(capsys, "make", "--from", inventory, "--devices", "4-7", "--output", "t.json")[0] == 0
    table = read_rank_table(folder / "t.json")
    assert [(d.device_id, d.rank_id) for d in table.servers[1].devices] == [(4, 4), (5, 5), (6, 6), (7, 7)]
    code, _, err = _pangu(capsys, "make", "--from", inventory, "--devices", "2-5", "--output", "u.json")
    assert code == 2
    assert "devices 2-5 straddle the rings 0-3 and 4-7" in err
    assert not (folder / "u.json").exists()


def test_nothing_is_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "t.json").write_text("mine")
    code, _, err = _pangu(capsys, "make", "--from", str(EXAMPLES / "inventory_8.yaml"), "--output", "t.json")
    assert code == 2
    assert "t.json is there already" in err
    assert (folder / "t.json").read_text() == "mine"


def test_spare_servers_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inventory = str(EXAMPLES / "inventory_16.yaml")
    code, out, err = _pangu(
        capsys, "make", "--from", inventory, "--config", "2b6", "parallel.dp=1", "--output", "t.json"
    )
    assert (code, out) == (0, "t.json: 8 device(s) on 1 server(s), format 1.0\n")
    assert "not needed: 10.0.0.2" in err


def test_show_refuses_a_broken_table_and_a_drawing_without_a_mesh(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = str(EXAMPLES / "hccl_8.json")
    code, out, _ = _pangu(capsys, "show", table)
    assert code == 0
    assert out.splitlines()[2].split() == ["10.0.0.1", "10.0.0.1", "-", "0-7", "0-7"]
    code, _, err = _pangu(capsys, "show", table, "--draw", "t.svg")
    assert code == 2 and "name a recipe with --config" in err
    code, _, err = _pangu(capsys, "show", table, "--config", "2b6")
    assert code == 2 and "512 ≠ devices(8)" in err
    broken = (EXAMPLES / "hccl_8.json").read_text().replace('"rank_id": "7"', '"rank_id": "6"')
    (folder / "broken.json").write_text(broken)
    code, _, err = _pangu(capsys, "show", "broken.json")
    assert code == 2 and "rank 6 is also that of" in err and "pangu ranktable check broken.json" in err


def test_a_table_becomes_one_of_another_format(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "hosts.txt").write_text("10.0.0.[1-2] rack=pod0\n")
    patterns = ("--device-ip", "192.168.{device}.{d}", "--super-device-id", "{server * 16 + device}")
    assert _pangu(capsys, "make", "--from", "hosts.txt", *patterns, "--output", "0.json")[0] == 0
    assert json.loads((folder / "0.json").read_text())["version"] == "1.2"
    for i, version in enumerate(("2.0", "1.0")):
        words = ("--from", f"{i}.json", "--format", version, "--output", f"{i + 1}.json")
        assert _pangu(capsys, "make", *words)[0] == 0
        assert _pangu(capsys, "check", f"{i + 1}.json")[0] == 0
    # Through 2.0 and back the devices have what 1.0 wants, and nothing else.
    device = json.loads((folder / "2.json").read_text())["server_list"][1]["device"][3]
    assert device == {"device_id": "3", "device_ip": "192.168.3.2", "rank_id": "11"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--from", str(EXAMPLES / "inventory_8.yaml"), "--device-ip", "10.0.0.{d}"), "are for hosts files"),
        (("--from", "host", "--super-device-id", "{device}"), "are for hosts files"),
        (("--from", str(EXAMPLES / "inventory_8.yaml"), "--server-id", "10.0.0.1"), "is for --from host and mpi"),
    ],
)
def test_options_that_would_be_ignored_are_refused(
    words: tuple[str, ...], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = _pangu(capsys, "make", *words, "--output", "t.json")
    assert code == 2 and message in err


def test_a_recipe_swallowed_words_that_are_no_settings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = _pangu(capsys, "check", str(EXAMPLES / "hccl_8.json"), "--config", "350m", "hosts.txt")
    assert code == 2 and "hosts.txt" in err


def test_the_verb_starts_at_once() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "pangu_alpha.cli.main", "ranktable"]
    ended = subprocess.run(
        [*command, "check", str(EXAMPLES / "hccl_8.json")], capture_output=True, text=True, check=True, timeout=280
    )
    for heavy in ("mindspore", "matplotlib", "mpi4py", "scipy"):
        assert f" {heavy}\n" not in ended.stderr
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "pangu_alpha.cli.main", "ranktable", "--help"], capture_output=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    assert seconds < 3, "far above 0.3 s of processor time"
