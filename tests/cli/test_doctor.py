from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.tasks.published import published, write_published

from pangu_alpha.cli.main import main

# Runs the script on this machine, which then has the addresses of all hosts.
SSH = """\
#!/bin/bash
while [[ $1 == -o ]]; do shift 2; done
[[ $1 == -- ]] && shift
[[ $1 == 127.0.0.9 ]] && { echo "ssh: connect to host $1 port 22: Connection refused" >&2; exit 255; }
exec bash -c "$2"
"""


def _exit_code(*words: str) -> int:
    try:
        return main(["doctor", *words])
    except SystemExit as end:
        assert isinstance(end.code, int)
        return end.code


@pytest.fixture
def project(tiny_project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with recipe.yaml, and an ssh that goes nowhere."""
    ssh = tmp_path / "ssh"
    ssh.write_text(SSH)
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for name in [name for name in os.environ if name.startswith(("MS_", "RANK_", "HCCL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tiny_project.folder)
    return tmp_path


def test_the_plan_of_a_chip_is_one_more_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code("recipe.yaml", f"output={project}/run", "--hardware", "a100") == 0
    *_, last, _, _ = capsys.readouterr().out.splitlines()
    assert last.startswith("✓ plan") and last.endswith(" GiB, on 1 × A100 80GB")
    assert _exit_code("recipe.yaml", f"output={project}/run", "--hardware", "a100", "--json") == 0
    assert json.loads(capsys.readouterr().out)["findings"][-1]["what"] == "plan"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("tasks.names=[c3]", "model.seq_length=256"), "✓ tasks"),
        (("tasks.names=[c3]", "tasks.data=elsewhere"), "– tasks"),
        (("tasks.names=[c33]",), "✗ tasks"),
        (("tasks.names=[c3]", "model.seq_length=16"), "✗ tasks"),
        (("tasks.names=[pd]", "model.seq_length=256", "parallel.mp=2"), "✗ tasks"),
    ],
)
def test_what_is_asked_during_the_training_is_looked_at(
    more: tuple[str, ...], said: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the training would refuse at its start is refused here."""
    (project / "data_sets").mkdir()
    write_published(project / "data_sets", published())
    _exit_code("recipe.yaml", f"output={project}/run", f"tasks.data={project}/data_sets", *more)
    assert any(line.startswith(said) for line in capsys.readouterr().out.splitlines())


def test_a_good_machine(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code("recipe.yaml", f"output={project}/run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith(("✓ ", "– ")) for line in lines if line)
    assert any(line.startswith("✓ data.train[0]") for line in lines)
    assert lines[-1] == "✓ 9, ✗ 0, – 3"


def test_what_is_bad_has_a_fix_and_a_code(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["recipe.yaml", f"output={project}/run", "tokenizer=other_tokenizer", "parallel.pp=2"]
    assert _exit_code(*words) == 1
    lines = capsys.readouterr().out.splitlines()
    wrong = [number for number, line in enumerate(lines[:-1]) if line.startswith("✗")]
    assert [lines[number].split()[1] for number in wrong] == [
        "recipe",
        "recipe",
        "tokenizer",
        "data.train[0]",
        "data.validation[0]",
    ]
    assert all(lines[number + 1].lstrip().startswith("→ ") for number in wrong)
    assert _exit_code(*words, "--json") == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert sum(finding["state"] == "bad" for finding in findings) == 5


def test_input_that_cannot_be_read(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code("no_such_recipe") == 2
    assert _exit_code("recipe.yaml", "--hosts", str(project / "nowhere.txt")) == 2
    assert "nowhere.txt" in capsys.readouterr().err


def test_two_simulated_servers(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = project / "table.json"
    servers = [
        {
            "server_id": f"127.0.0.{host}",
            "device": [
                {"device_id": str(i), "device_ip": f"192.168.{host}.{i + 1}", "rank_id": str(2 * host + i - 2)}
                for i in range(2)
            ],
        }
        for host in (1, 2)
    ]
    table.write_text(json.dumps({"version": "1.0", "server_count": "2", "server_list": servers, "status": "completed"}))
    hosts = project / "hosts.txt"
    hosts.write_text("127.0.0.1\n127.0.0.2\n")
    words = ["recipe.yaml", f"output={project}/run", "parallel.dp=4", "--rank-table", str(table), "--hosts", str(hosts)]
    assert _exit_code(*words) == 0
    out = capsys.readouterr().out
    assert "2 answered" in out
    assert "4 devices on 2 servers" in out
    assert "127.0.0.1, 127.0.0.2 are one machine" in out
    assert _exit_code(*words, "--hardware", "a100") == 0
    assert " on 4 × A100 80GB, links as in table.json" in capsys.readouterr().out
    hosts.write_text("127.0.0.1\n127.0.0.9\n")
    assert _exit_code(*words) == 1
    out = capsys.readouterr().out
    assert "✗ host 127.0.0.9" in out
    assert "Connection refused" in out
    assert "127.0.0.2 is not in the hosts file" in out
