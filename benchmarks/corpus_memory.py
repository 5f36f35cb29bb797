"""How much memory `pangu corpus run` needs for more and more text, each of its processes in each stage.

    python benchmarks/corpus_memory.py --text TEXT.jsonl --folder scratch --megabytes 10 100 1000 10000

TEXT.jsonl is real Chinese text; its sentences are put together anew to documents of 8 to 60, every tenth of which is
near to the one before, and go through the rules of `pangu_alpha_2021`. What was stopped goes on with the same command:
text and corpora stay in the folder.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from pangu_alpha.console import progress
from pangu_alpha.corpus import cleaning
from pangu_alpha.corpus.duplicates import clustering, comparing, grouping
from pangu_alpha.corpus.finishing import STAGE as FINISH
from pangu_alpha.corpus.running import SUMMARY
from pangu_alpha.data.documents import read_texts
from pangu_alpha.files import write_text, written_aside

STAGES = (
    cleaning.STAGE,
    grouping.EXACT_STAGE,
    grouping.CANDIDATE_STAGE,
    comparing.STAGE,
    clustering.STAGE,
    FINISH,
)
PART = 10_000_000
"""Bytes of a file of generated text."""
RECIPE = "preset: pangu_alpha_2021\nsources: {web: {}}\n"
Peaks = dict[str, int]
"""kB at most, by `command` and stage of the worker that had most; and `seconds`."""


def write_texts(folder: Path, text: Path, count: int) -> list[Path]:
    """`count` files of text, each a function of its number; those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:05d}.jsonl" for number in range(count)]
    waiting = [number for number, path in enumerate(paths) if not path.exists()]
    if waiting:
        sentences = [part for document in read_texts([text]) for part in _sentences(document)]
        with progress("generating", len(waiting) * PART, "bytes") as advance:
            for number in waiting:
                with written_aside(paths[number]) as aside, aside.open("w", encoding="utf-8") as file:
                    file.writelines(_lines(sentences, random.Random(number)))
                advance(PART)
    return paths


def measure(output: Path, inputs: list[Path], workers: int, peaks_file: Path) -> Peaks:
    """Make the corpus, or go on with it, and look at its processes five times a second."""
    peaks: Peaks = json.loads(peaks_file.read_text(encoding="utf-8")) if peaks_file.exists() else {}
    recipe = output.parent / "recipe.yaml"
    write_text(recipe, RECIPE)
    words = ["corpus", "run", str(recipe), "--input", *map(str, inputs), "--output", str(output)]
    begun, before = time.monotonic(), peaks.get("seconds", 0)
    process = subprocess.Popen(
        [sys.executable, "-m", "pangu_alpha.cli.main", *words, "--workers", str(workers)], stdout=subprocess.DEVNULL
    )
    try:
        while process.poll() is None:
            _look(process.pid, _stage(output), peaks)
            peaks["seconds"] = before + round(time.monotonic() - begun)
            write_text(peaks_file, json.dumps(peaks))
            time.sleep(0.2)
    finally:
        process.terminate()
        process.wait()
    if process.returncode:
        sys.exit(f"{output} is not complete: the same command goes on with it")
    return peaks


def _look(command: int, stage: str, peaks: Peaks) -> None:
    """Raise `peaks` to what the processes have now."""
    total = 0
    try:
        children = [child.pid for child in psutil.Process(command).children(recursive=True)]
    except psutil.Error:
        return
    for pid in (command, *children):
        own, most = _memory(pid)
        total += own
        name = "command" if pid == command else stage
        peaks[name] = max(peaks.get(name, 0), own)
        peaks["with mapped files"] = max(peaks.get("with mapped files", 0), most)
    peaks["all together"] = max(peaks.get("all together", 0), total)


def _memory(pid: int) -> tuple[int, int]:
    """kB that are the process's own now, and that it had at most with the files that it maps, of which the system can
    take back the pages at any time."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0, 0
    found = dict(line.split(":", 1) for line in lines)
    own, most = (int(found.get(name, "0 kB").split()[0]) for name in ("RssAnon", "VmHWM"))
    return own, most


def _stage(output: Path) -> str:
    there = [stage for stage in STAGES if (output / "work" / stage).is_dir()]
    return there[-1] if there else STAGES[0]


def _sentences(document: str) -> list[str]:
    parts = document.replace("。", "。\n").split("\n")
    return [part for part in map(str.strip, parts) if len(part) >= 8]


def _lines(sentences: list[str], draw: random.Random) -> Iterator[str]:
    written, chosen = 0, sentences[:1]
    while written < PART:
        chosen = (
            chosen[:-1] if draw.random() < 0.1 and len(chosen) > 8 else draw.choices(sentences, k=draw.randint(8, 60))
        )
        text = "\n".join("".join(chosen[i : i + 5]) for i in range(0, len(chosen), 5))
        line = json.dumps({"text": text}, ensure_ascii=False) + "\n"
        written += len(line.encode())
        yield line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="real text, .jsonl")
    parser.add_argument("--folder", type=Path, required=True, help="for text and corpora; what is there is used")
    parser.add_argument("--megabytes", type=int, nargs="+", default=[10, 100, 1000, 10_000])
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    print("MB of memory  " + "".join(f"{name:>13}" for name in ("command", *STAGES, "together", "mapped too")))
    for megabytes in arguments.megabytes:
        inputs = write_texts(arguments.folder / "text", arguments.text, max(1, megabytes * 1_000_000 // PART))
        output = arguments.folder / f"corpus_{megabytes}"
        peaks = measure(output, inputs, arguments.workers, arguments.folder / f"peaks_{megabytes}.json")
        names = ("command", *STAGES, "all together", "with mapped files")
        print(f"{megabytes:>8,} MB   " + "".join(f"{peaks.get(name, 0) / 1000:>13,.0f}" for name in names))
        summary = json.loads((output / SUMMARY).read_text(encoding="utf-8"))
        speed = megabytes / peaks["seconds"]
        print(
            f"{summary['documents']:>8,} documents, {summary['texts']:,} stay, {peaks['seconds']} s, {speed:.2f} MB/s"
        )


if __name__ == "__main__":
    main()
