"""The words of `pangu launch`; tests/launch/ starts jobs with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pangu_alpha.cli.main import main
from pangu_alpha.cluster.rank_tables.rank_table import Device, Server, numbered, write_rank_table


@pytest.mark.parametrize("kind", ["rank-table", "msrun"])
def test_each_kind_of_job_has_examples(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["launch", kind, "--help"])
    assert exit_.value.code == 0
    assert f"pangu launch {kind} " in capsys.readouterr().out.partition("examples:")[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: KIND"),
        (["slurm"], "invalid choice: 'slurm'"),
        (["msrun", "tiny_cpu"], "--workers"),
        (["msrun", "--workers", "2", "--restarts", "x", "tiny_cpu"], "'x' is not a whole number from 0 on"),
    ],
)
def test_what_is_missing_or_wrong_is_named(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["launch", *words])
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err


def test_a_dry_run_prints_the_commands_and_starts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["launch", "msrun", "--workers", "2", "tiny_cpu", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("RANK_ID=") == 2 and "nothing was started and nothing was written" in printed


def test_a_chip_is_planned_for_and_the_ranks_write_it_down(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["launch", "msrun", "--workers", "8", "350m", "train.batch_size=16", "data.train=[{path: tokens}]"]
    words += ["--dry-run", "--hardware"]
    assert main([*words, "910a"]) == 0
    out, err = capsys.readouterr()
    assert "planned: " in err and " s a step, " in err and " on 8 × Ascend 910A" in err
    assert out.count("--hardware 910a") == 8
    assert main([*words, "911a"]) == 2
    assert "no chip '911a'" in capsys.readouterr().err


def test_a_chip_is_planned_for_on_the_servers_of_the_rank_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One server of eight is faster than eight of one, and the ranks write down what the launcher says."""
    said = []
    for name, num_servers in (("near.json", 1), ("far.json", 8)):
        per_server = 8 // num_servers
        servers = [
            Server(f"127.0.0.{s + 1}", tuple(Device(d, 0, f"192.168.{s}.{d + 1}") for d in range(per_server)))
            for s in range(num_servers)
        ]
        write_rank_table(numbered("1.0", servers), tmp_path / name)
        words = ["350m", str(tmp_path / name), "train.batch_size=16", "data.train=[{path: tokens}]", "--dry-run"]
        assert main(["launch", "rank-table", *words, "--server", "127.0.0.1", "--hardware", "910a"]) == 0
        out, err = capsys.readouterr()
        assert f", on 8 × Ascend 910A, links as in {name}" in err
        seconds = float(out.partition("--planned-seconds ")[2].split()[0])
        assert out.count(f"--hardware 910a --planned-seconds {seconds:.6g}") == per_server
        assert f"planned: {seconds:.3g} s a step" in err
        said.append(seconds)
    assert said[1] > 1.1 * said[0]
