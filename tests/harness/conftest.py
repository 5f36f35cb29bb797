"""The data sets' files, and a network that has seen them for a moment."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.conftest import user_environment
from tests.evaluation.tasks.published import published, write_published

from pangu_alpha.data import pack
from pangu_alpha.tokenizer import load_tokenizer, train_tokenizer


@dataclass(frozen=True)
class Project:
    folder: Path
    text: Path

    @property
    def data(self) -> Path:
        return self.folder / "data_sets"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a module of this project to its end, in the folder."""
        command = [sys.executable, "-m", *words]
        return subprocess.run(
            command, cwd=self.folder, env=user_environment(), capture_output=True, text=True, timeout=300, check=False
        )


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("harness")
    write_published(folder / "data_sets", published())
    texts = [text for files in published().values() for text in files.values()]
    train_tokenizer(texts, folder / "tokenizer", 900)
    (folder / "tokens").mkdir()
    pack(texts, load_tokenizer(folder / "tokenizer"), folder / "tokens" / "train")
    (folder / "text.jsonl").write_text(
        "".join(json.dumps({"text": text[:900]}, ensure_ascii=False) + "\n" for text in texts[:6]), encoding="utf-8"
    )
    (folder / "recipe.yaml").write_text(
        f"""\
device: cpu
output: {folder / "run"}
tokenizer: {folder / "tokenizer"}
model: {{num_layers: 2, hidden_size: 32, num_heads: 2, vocab_size: 900, seq_length: 160,
        final_norm: before_query_layer, dropout: 0.1, compute_dtype: float32}}
data: {{train: [{{path: {folder / "tokens" / "train"}}}]}}
train: {{steps: 2, batch_size: 2}}
schedule: {{learning_rate: 1.0e-2, end_learning_rate: 1.0e-3, warmup_steps: 0, decay_steps: 10}}
""",
        encoding="utf-8",
    )
    project = Project(folder, folder / "text.jsonl")
    done = project.python("pangu_alpha.cli.main", "train", "recipe.yaml")
    assert done.returncode == 0, done.stderr
    return project
