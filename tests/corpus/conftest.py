"""Chinese text for the corpus: paragraphs of a novel and of an essay, put together anew for each document."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import CHUSHIBIAO, SANGUO

_WORDS = sorted({SANGUO[i : i + 2] for i in range(len(SANGUO) - 1)} | {CHUSHIBIAO[i : i + 2] for i in range(200)})


def chinese_text(seed: int, sentences: int = 14) -> str:
    """Text of Han characters and full stops that resembles no other seed's: some 24 characters a sentence."""
    draw = random.Random(seed)
    words = [word for word in _WORDS if word.isalpha()]
    lines = [
        "".join(draw.choices(words, k=11)) + "，" + "".join(draw.choices(words, k=2)) + "。" for _ in range(sentences)
    ]
    return "\n".join("".join(lines[i : i + 3]) for i in range(0, len(lines), 3))


def write_jsonl(path: Path, texts: Sequence[str]) -> Path:
    """A line a text."""
    path.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts), encoding="utf-8")
    return path
