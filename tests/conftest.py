"""A tiny network on real Chinese text, to be trained by real processes in a second or two after the compilation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pangu_alpha.cluster.ports import hccl_ports, is_taken
from pangu_alpha.data import pack
from pangu_alpha.tokenizer import load_tokenizer, train_tokenizer

# Before MindSpore is imported, which sets "python": reading a program would take a hundred times as long.
os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "upb")
pytest_plugins = ["tests.hand_written"]


def _free_ports_for_hccl() -> str:
    """The first of as many as it needs. Its usual ones may be in use: the kernel gives some of them to any program."""
    bases = map(str, range(20000, 32000, 16))  # below those that the kernel gives
    return next(base for base in bases if not any(map(is_taken, hccl_ports({"HCCL_IF_BASE_PORT": base}))))


os.environ.setdefault("HCCL_IF_BASE_PORT", _free_ports_for_hccl())
ROOT = Path(__file__).parents[1]
# 三国演义, the first chapter, and 出师表.
SANGUO = (
    "话说天下大势，分久必合，合久必分。周末七国分争，并入于秦；及秦灭之后，楚、汉分争，又并入于汉。"
    "汉朝自高祖斩白蛇而起义，一统天下，后来光武中兴，传至献帝，遂分为三国。推其致乱之由，殆始于桓、灵二帝。"
    "桓帝禁锢善类，崇信宦官。及桓帝崩，灵帝即位，大将军窦武、太傅陈蕃共相辅佐。时有宦官曹节等弄权，"
    "窦武、陈蕃谋诛之，机事不密，反为所害，中涓自此愈横。\n"
)
CHUSHIBIAO = (
    "先帝创业未半而中道崩殂，今天下三分，益州疲弊，此诚危急存亡之秋也。"
    "然侍卫之臣不懈于内，忠志之士忘身于外者，盖追先帝之殊遇，欲报之于陛下也。"
    "诚宜开张圣听，以光先帝遗德，恢弘志士之气，不宜妄自菲薄，引喻失义，以塞忠谏之路也。\n"
)


def user_environment() -> dict[str, str]:
    """The environment without what tests set for MindSpore, and without what it sets itself when a test imports it."""
    ours = ("GLOG_", "HCCL_", "MS_", "PROTOCOL_BUFFERS_", "RANK_")
    others = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**others, "HCCL_IF_BASE_PORT": os.environ["HCCL_IF_BASE_PORT"]}


@dataclass(frozen=True)
class TinyProject:
    """A recipe with its tokenizer and token files."""

    folder: Path
    recipe: Path
    text: Path
    vocab_size: int
    more_environment: Mapping[str, str] = field(default_factory=dict)
    """For its processes."""

    def environment(self) -> dict[str, str]:
        """For a process of its own."""
        return {**user_environment(), **self.more_environment}

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start `pangu` with `words` in the project's folder."""
        return subprocess.Popen(
            [sys.executable, "-m", "pangu_alpha.cli.main", *words],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def pangu(self, *words: str, timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Run `pangu` with `words` to its end."""
        process = self.start(*words)
        stdout, stderr = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)

    def losses(self, run: str) -> list[tuple[int, float, float]]:
        """Step, loss and gradient norm of each line of a run's metrics.jsonl."""
        return [(record["step"], record["loss"], record["grad_norm"]) for record in self.records(run)]

    def records(self, run: str) -> list[dict[str, Any]]:
        """The complete lines of a run's metrics.jsonl."""
        path = self.folder / run / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def tiny_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyProject]:
    folder = tmp_path_factory.mktemp("tiny_project")
    documents = [SANGUO * 8, CHUSHIBIAO * 8, (SANGUO + CHUSHIBIAO) * 4]
    text = folder / "text.jsonl"
    lines = [json.dumps({"text": document}, ensure_ascii=False) + "\n" for document in documents]
    text.write_text("".join(lines), encoding="utf-8")
    for name, size in (("tokenizer", 470), ("other_tokenizer", 480)):
        train_tokenizer(documents, folder / name, size)
    tokenizer = load_tokenizer(folder / "tokenizer")
    (folder / "tokens").mkdir()
    pack(documents, tokenizer, folder / "tokens" / "train")
    pack(documents[1:2], tokenizer, folder / "tokens" / "validation")
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"""\
device: cpu
output: run
tokenizer: tokenizer
model: {{num_layers: 2, hidden_size: 32, num_heads: 2, vocab_size: {tokenizer.vocab_size}, seq_length: 32,
        final_norm: before_query_layer, dropout: 0.1, compute_dtype: float32}}
data: {{train: [{{path: tokens/train}}], validation: [{{path: tokens/validation}}]}}
train: {{steps: 300, batch_size: 4, log_every: 100, validate_every: 100, checkpoint_every: 5, keep_checkpoints: 2}}
schedule: {{learning_rate: 1.0e-3, end_learning_rate: 1.0e-4, warmup_steps: 10, decay_steps: 300}}
""",
        encoding="utf-8",
    )
    yield TinyProject(folder, recipe, text, tokenizer.vocab_size)
