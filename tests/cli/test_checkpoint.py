"""`pangu checkpoint` on the checkpoints of a run without MindSpore: any layout can be written from tensors alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pangu_alpha.checkpoint import Health, open_checkpoint, save_whole
from pangu_alpha.cli import main as cli
from pangu_alpha.config import load_config
from pangu_alpha.parallel.parameters import row_of, tensor_names

SIZES = "model={num_layers: 3, hidden_size: 16, num_heads: 4, vocab_size: 30, seq_length: 6, compute_dtype: float32}"
CONFIG = load_config("tiny_cpu", [SIZES, "model.final_norm=before_query_layer"])


def main(words: list[str]) -> int:
    """The exit code of `pangu`."""
    try:
        return cli.main(words)
    except SystemExit as end:
        assert isinstance(end.code, int)
        return end.code


def save(root: Path, step: int, changed: str = "", *, is_spike: bool = False) -> Path:
    rng = np.random.default_rng(0)
    shapes = {name: row_of(name).shape(CONFIG.model) for name in tensor_names(CONFIG.model)}
    tensors = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    if changed:
        tensors[changed].flat[7] += 0.5
    progress = {"step": step, "num_updates": step, "consumed_samples": 8 * step}
    state = {"config": CONFIG.model_dump(mode="json"), "progress": progress, "versions": {"pangu_alpha": "1"}}
    return save_whole(root / "checkpoints", step, tensors, state, Health(5.25, 1.5, is_spike))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    save(tmp_path, 100)
    save(tmp_path, 200, is_spike=True)
    return tmp_path


def test_a_run_s_checkpoints_are_listed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "checkpoints" / "step_00000200" / "optimizer" / "rank_00000.safetensors").unlink()
    save(run, 300, is_spike=True)
    assert main(["checkpoint", "list", str(run)]) == 0
    _, first, second, third = capsys.readouterr().out.splitlines()
    assert first.split()[:5] == ["100", "152kB", "5.2500", "dp1", "mp1"] and "whole" in first
    assert "damaged: " in second and "rank_00000.safetensors" in second
    assert "a spike" in third


def test_what_is_in_one_is_shown(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", "show", str(run), "--ranks", "--tensors"]) == 0
    out = capsys.readouterr().out
    for words in (
        "step              200",
        "consumed samples  1,600",
        "loss 5.2500, gradient norm 1.5, a spike",
        "dp1 mp1 pp1",
        "adam_v.final_norm.gamma",
        "[30, 16]         in 1 of [30, 16]",
        "stage 0    1 ranks (0 to 0) wrote 152kB",
    ):
        assert words in out


def test_every_byte_is_checked(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", "check", str(run)]) == 0
    assert "are what was written" in capsys.readouterr().out
    file = run / "checkpoints" / "step_00000200" / "weights" / "rank_00000.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert main(["checkpoint", "check", str(run)]) == 1
    assert "final_norm.beta is not what was written" in capsys.readouterr().out
    assert main(["checkpoint", "check", str(run), str(run / "checkpoints" / "step_00000100")]) == 1
    assert "step_00000100: all 159 tensors are what was written" in capsys.readouterr().out


def test_two_are_compared(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "adam_m.layers.0.attention.query.weight"
    save(tmp_path / "other", 100, changed=name)
    first = str(run / "checkpoints" / "step_00000100")
    assert main(["checkpoint", "diff", first, str(run)]) == 0
    assert "tensors are equal to the bit" in capsys.readouterr().out
    assert main(["checkpoint", "diff", first, str(tmp_path / "other")]) == 1
    captured = capsys.readouterr()
    assert f"{name}: numbers that differ: 1, the first at [0, 7], by up to 0.5" in captured.out
    assert "1 of 159 tensors differ" in captured.out


def test_one_is_written_in_any_layout_and_back(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(run / "checkpoints" / "step_00000100")
    layout = ["parallel.dp=2", "parallel.mp=4", "parallel.pp=2", "parallel.optimizer_sharding=true"]
    more = ["train.batch_size=8", "train.num_micro_batches=2"]
    words = ["checkpoint", "convert", source, str(tmp_path / "cut"), *layout]
    assert main([*words, *more]) == 2
    assert "train.batch_size=8 is no setting of the layout" in capsys.readouterr().err
    assert main(words) == 0, capsys.readouterr().err
    cut = open_checkpoint(tmp_path / "cut" / "checkpoints" / "step_00000100")
    assert len({name for name, _ in cut.index.files}) > 16
    assert cut.state["config"]["parallel"]["mp"] == 4
    assert main(["checkpoint", "convert", str(tmp_path / "cut"), str(tmp_path / "back")]) == 0
    assert main(["checkpoint", "diff", source, str(tmp_path / "back")]) == 0
    assert main(words) == 2
    assert "has checkpoints already" in capsys.readouterr().err


@pytest.mark.parametrize("action", ["list", "show", "check"])
def test_nothing_there(action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", action, str(tmp_path)]) == 2
    assert "no checkpoint" in capsys.readouterr().err


def test_damage_has_the_exit_code_of_a_failure(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "checkpoints" / "step_00000200" / "index.json").write_text("{")
    for words in (["check", str(run)], ["show", str(run)], ["diff", str(run), str(run)]):
        assert main(["checkpoint", *words]) == 1
        captured = capsys.readouterr()
        assert "index.json is damaged" in captured.out + captured.err
