"""Whether the evaluation measures learning: who has read more of a text fills the gaps of its unread part better.

From held-out chapters it makes a cloze task in ChID's published form: a word of two characters is missing, and there
are four to choose from. The three wrong ones are about as frequent in the training text as the right one and have its
length, so that counting words gives chance. Then `pangu train` trains the quickstart's recipe on the other chapters
and measures the task several times on the way (`tasks.every`).

Needs the folder of a quickstart (`bash launch/quickstart.sh`) for its chapters, tokenizer and tokens. Ends with 1 when
the trained network is not above chance, with 95 % confidence, or not above the one of the first measurement.

    python benchmarks/cloze.py runs/quickstart
    python benchmarks/cloze.py runs/quickstart --items 500 train.steps=1000
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jieba

from pangu_alpha.config import load_config
from pangu_alpha.data.documents import read_texts

LEAST_SEEN = 20
"""Times that a word is in the training text, at least."""
NEAR = 12
"""Places in the order of frequency from which wrong words are drawn, on each side."""
AROUND = 24
"""Characters on each side of the gap, so that questions fit the recipe's 64 tokens."""
MEASUREMENTS = 5


def words_of(texts: list[str]) -> list[str]:
    """The words of two Chinese characters that are frequent enough, the most frequent first."""
    cut = (word for text in texts for word in jieba.cut(text) if re.fullmatch(r"[\u4e00-\u9fff]{2}", word))
    return [word for word, number in Counter(cut).most_common() if number >= LEAST_SEEN]


def questions(texts: list[str], words: list[str], generator: random.Random) -> Iterator[dict[str, object]]:
    """A gap for each known word of the held-out texts, in ChID's form."""
    places = {word: number for number, word in enumerate(words)}
    for text in texts:
        end = 0
        for word in jieba.cut(text):
            start, end = end, end + len(word)
            if word not in places or start < AROUND or end + AROUND > len(text):
                continue
            place = places[word]
            near = [one for one in words[max(place - NEAR, 0) : place + NEAR + 1] if one != word]
            choices = [word, *generator.sample(near, 3)]
            generator.shuffle(choices)
            content = f"{text[start - AROUND : start]}#idiom#{text[end : end + AROUND]}".replace("\n", "")
            yield {"groundTruth": [word], "candidates": [choices], "content": content}


def make_task(quickstart: Path, folder: Path, num_items: int) -> None:
    """Write the task's one file."""
    generator = random.Random(20210426)
    train, held_out = (list(read_texts([quickstart / "text" / f"{name}.jsonl"])) for name in ("train", "validation"))
    found = list(questions(held_out, words_of(train), generator))
    chosen = generator.sample(found, min(num_items, len(found)))
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(one, ensure_ascii=False) + "\n" for one in chosen]
    (folder / "dev.txt").write_text("".join(lines), encoding="utf-8")
    print(f"{len(chosen)} gaps of the {len(found)} in {len(held_out)} held-out chapters")


def train(quickstart: Path, output: Path, overrides: list[str]) -> list[dict[str, object]]:
    """Train, and return what was measured on the way."""
    steps = load_config("quickstart", overrides).train.steps
    files = [
        f"data.{kind}=[{{path: {json.dumps(str(quickstart / 'tokens' / kind))}}}]" for kind in ("train", "validation")
    ]
    pangu = (sys.executable, "-m", "pangu_alpha.cli.main")
    run = ("quickstart", f"output={output / 'run'}", f"tokenizer={quickstart / 'tokenizer'}", *files)
    tasks = ("tasks.names=[chid]", f"tasks.data={output / 'data_sets'}", "tasks.limit=null")
    every = f"tasks.every={max(steps // MEASUREMENTS, 1)}"
    subprocess.run([*pangu, "train", *run, *tasks, every, *overrides], check=True)
    text = (output / "run" / "tasks.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quickstart", type=Path, help="folder that launch/quickstart.sh has made")
    parser.add_argument("--items", type=int, default=1000, help="gaps, at most")
    parser.add_argument("--output", type=Path, default=Path("runs/cloze"), help="for the task and the run")
    parser.add_argument("overrides", nargs="*", help="settings that replace the recipe's")
    arguments = parser.parse_intermixed_args()
    make_task(arguments.quickstart, arguments.output / "data_sets" / "chid", arguments.items)
    records = train(arguments.quickstart, arguments.output, arguments.overrides)
    print(f"{'step':>6}  scoring  accuracy  95 %            chance  majority")
    for one in records:
        interval = f"[{one['low']:.1f}, {one['high']:.1f}]"
        print(
            f"{one['step']:6,}  {one['metric']:7}  {one['value']:8.1f}  {interval:14}  {one['chance']:6.1f}  "
            f"{one['majority']:8.1f}"
        )
    first, last = ([one for one in records if one["metric"] == "mean"][place] for place in (0, -1))
    learnt = last["low"] > last["chance"] and last["value"] > first["value"]  # type: ignore[operator]
    print(
        "the trained network is above chance, and above the first one" if learnt else "NOT above chance, or not better"
    )
    return int(not learnt)


if __name__ == "__main__":
    sys.exit(main())
