"""How fast, how small and how right the making of a corpus is. One measurement a call:

    python benchmarks/corpus.py signatures --text TEXT.jsonl    # MinHash a core, beside rensa's Rust
    python benchmarks/corpus.py planted --text TEXT.jsonl       # recall and wrong drops of planted duplicates
    python benchmarks/corpus.py pipeline --text TEXT.jsonl --datatrove OTHER_VENV/bin/python
    python benchmarks/corpus.py clusters --documents 10000000   # of signatures that are drawn at random

TEXT.jsonl is real Chinese text, a document a line. `pipeline` runs the same rules and thresholds in datatrove, which
needs NumPy 2 and so an environment of its own:

    pip install "datatrove[processing,io]==0.10.1" jieba spacy opencc pyahocorasick pydantic
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pangu_alpha.console import say, si
from pangu_alpha.corpus.cleaning import BAND_TYPE, STAGE
from pangu_alpha.corpus.duplicates.components import find_clusters
from pangu_alpha.corpus.duplicates.grouping import CANDIDATE_STAGE, group_band, num_parts
from pangu_alpha.corpus.engine import Processes
from pangu_alpha.corpus.ledger import read_batches
from pangu_alpha.corpus.load import load_recipe
from pangu_alpha.corpus.minhash import band_hashes, letters, shingles
from pangu_alpha.corpus.recipe import NearSettings, Recipe
from pangu_alpha.corpus.running import run_corpus
from pangu_alpha.corpus.sources import Piece
from pangu_alpha.corpus.work import Work, load, numbers, save, write_result
from pangu_alpha.data.documents import read_texts

ROUNDS = 5


def plantings(draw: random.Random) -> dict[str, Callable[[str], str]]:
    """By their names, the ways in which the same text is there once more."""
    import opencc

    def changed(text: str) -> str:
        characters = list(text)
        for place in draw.sample(range(len(text)), round(0.02 * len(text))):
            characters[place] = chr(draw.randrange(0x4E00, 0x9000))
        return "".join(characters)

    def moved(text: str) -> str:
        paragraphs = text.split("\n")
        draw.shuffle(paragraphs)
        return "\n".join(paragraphs)

    return {
        "cut to 90 %": lambda text: text[: round(0.9 * len(text))],
        "2 % of characters changed": changed,
        "paragraphs moved": moved,
        "traditional": opencc.OpenCC("s2t").convert,
    }


def signatures(arguments: argparse.Namespace) -> None:
    import rensa

    texts = list(read_texts([arguments.text]))
    total, near = sum(map(len, texts)), NearSettings(bands=14, rows=8)

    def ours() -> None:
        for start in range(0, len(texts), 256):
            band_hashes(texts[start : start + 256], near)

    def strings() -> None:
        for start in range(0, len(texts), 256):
            some = [[text[i : i + 5] for i in range(len(text) - 4)] for text in texts[start : start + 256]]
            rensa.RMinHash.digest_matrix_from_token_sets(some, 112, 1)

    def hashes() -> None:
        for start in range(0, len(texts), 256):
            codes, ends = letters(texts[start : start + 256])
            parts = [shingles(part, 5).astype(np.uint64) for part in np.split(codes, ends[:-1])]
            offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.uint64)
            rensa.RMinHash.digest_matrix_from_flat_token_hashes(np.concatenate(parts), offsets, 112, 1)

    rates: dict[str, list[float]] = {name: [] for name in ("ours", "rensa, shingles as strings", "rensa, our shingles")}
    for _ in range(ROUNDS):  # in turns: the machine's speed changes
        for name, work in zip(rates, (ours, strings, hashes), strict=True):
            rates[name].append(total / _seconds(work))
    for name, found in rates.items():
        median = sorted(found)[ROUNDS // 2]
        print(f"{name:28} {si(median)} characters/s, ours ÷ it {sorted(rates['ours'])[ROUNDS // 2] / median:.2f}")


def planted(arguments: argparse.Namespace) -> None:
    originals = [text for text in read_texts([arguments.text]) if len(text) >= 200]
    changes = plantings(random.Random(1))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder / "a.jsonl", originals)
        _write(folder / "b.jsonl", [change(text) for change in changes.values() for text in originals])
        recipe = load_recipe("pangu_alpha_2021").model_copy(update={"rules": {"simplify": {"config": "t2s"}}})
        recipe = Recipe.model_validate({**recipe.model_dump(), "sources": {"first": {}, "second": {}}})
        _run(recipe, [("first", folder / "a.jsonl"), ("second", folder / "b.jsonl")], folder / "out", 2)
        ledgers = sorted((folder / "out" / "ledger").iterdir())
        rows = [row for path in ledgers for batch in read_batches(path) for row in batch.to_pylist()]
    first = [row for row in rows if row["source"] == "first"]
    second = [row for row in rows if row["source"] == "second"]
    fallen = sum(row["dropped_by"] is not None for row in first)
    print(f"{len(first):,} originals, of which {fallen} ({fallen / len(first):.2%}) fell as duplicates of each other")
    for index, change in enumerate(changes):
        some = second[index * len(originals) : (index + 1) * len(originals)]
        found = sum(row["dropped_by"] is not None for row in some)
        print(f"{change:28} {found / len(some):.2%} of {len(some):,} found")
    print(f"{'all':28} {sum(row['dropped_by'] is not None for row in second) / len(second):.2%}")


def pipeline(arguments: argparse.Namespace) -> None:
    size = arguments.text.stat().st_size
    preset = load_recipe("pangu_alpha_2021")
    near = {"ngram": 5, "bands": 14, "rows": 8, "jaccard": 0.7}
    recipe = Recipe.model_validate(
        {
            **preset.model_dump(),
            "sources": {"web": {}},
            "duplicates": {"near": near},
            "limits": {"piece_bytes": size // 4},
        }
    )
    ours, theirs = [], []
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            ours.append(_seconds(lambda: _run(recipe, [("web", arguments.text)], folder / "ours", 2)))  # noqa: B023
            words = [str(Path(__file__).with_name("corpus_datatrove.py")), str(arguments.text), str(folder / "theirs")]
            environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "src")}
            begun = time.perf_counter()
            subprocess.run([arguments.datatrove, *words], check=True, env=environment, stderr=subprocess.DEVNULL)
            theirs.append(time.perf_counter() - begun)
            say(f"ours {ours[-1]:.1f} s, datatrove {theirs[-1]:.1f} s")
    middle = arguments.rounds // 2
    own, other = sorted(ours)[middle], sorted(theirs)[middle]
    for name, seconds in (("ours", own), ("datatrove", other)):
        print(f"{name:10} {seconds:.1f} s, {size / seconds / 2e6:.2f} MB/s a core")
    print(f"ratio     {other / own:.2f}")


def clusters(arguments: argparse.Namespace) -> None:
    """Candidates and clusters of drawn signatures, a tenth of them equal in half of their bands to another one."""
    near, draw = NearSettings(bands=arguments.bands), np.random.default_rng(1)
    num_pieces = -(-arguments.documents // 500_000)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        pieces = tuple(Piece(number, "web", ()) for number in range(num_pieces))
        recipe = Recipe.model_validate({"duplicates": {"exact": False, "near": near.model_dump()}})
        work = Work(Path(name), recipe, pieces)
        for piece in range(num_pieces):
            _draw_signatures(work, piece, arguments.documents // num_pieces, draw)
        begun = time.perf_counter()
        for task in range(num_parts(arguments.documents) * near.bands):
            group_band(work, task)
        grouped = time.perf_counter()
        files = [load(path / "pairs.npy") for path in sorted(work.stage(CANDIDATE_STAGE).iterdir())]
        count = find_clusters(files, sum(map(len, files)), Path(name) / "clusters")
        done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{arguments.documents:,} documents of {near.bands} bands, {sum(map(len, files)):,} candidates")
    print(f"{count:,} duplicates; candidates {grouped - begun:.0f} s, clusters {done - grouped:.0f} s, {peak:.2f} GiB")


def _draw_signatures(work: Work, piece: int, count: int, draw: np.random.Generator) -> None:
    near = work.recipe.duplicates.near
    assert near is not None
    # Documents of all pieces that share a seed share its hashes: a tenth of the documents share some 300,000 seeds.
    seeds = np.where(draw.random(count) < 0.1, draw.integers(0, 300_000, count), draw.integers(0, 1 << 62, count))

    def write(folder: Path) -> dict[str, object]:
        bands = np.zeros((near.bands, count), BAND_TYPE)
        for band in range(near.bands):
            same = draw.random(count) < 0.5
            hashes = (seeds.astype(np.uint64) + np.uint64(band)) * np.uint64(0x9E3779B97F4A7C15)
            bands[band]["hash"] = np.where(same, hashes, draw.integers(0, 1 << 63, count, dtype=np.uint64))
            bands[band]["document"] = bands[band]["content"] = numbers(piece, np.arange(count))
            bands[band].sort(order=("hash", "content", "document"))
        save(folder / "bands.npy", bands.ravel())
        return {"by_reason": {"": count}}

    write_result(work.result(STAGE, piece), write)


def _run(recipe: Recipe, inputs: list[tuple[str, Path]], output: Path, workers: int) -> None:
    engine = Processes(workers)
    try:
        run_corpus(recipe, inputs, output, engine)
    finally:
        engine.close()


def _write(path: Path, texts: list[str]) -> None:
    path.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts), encoding="utf-8")


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["signatures", "planted", "pipeline", "clusters"])
    parser.add_argument("--text", type=Path, help="real text, .jsonl")
    parser.add_argument("--datatrove", default=shutil.which("python"), help="interpreter of its environment")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--documents", type=int, default=10_000_000)
    parser.add_argument("--bands", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="for what is generated")
    arguments = parser.parse_args()
    {"signatures": signatures, "planted": planted, "pipeline": pipeline, "clusters": clusters}[arguments.what](
        arguments
    )


if __name__ == "__main__":
    main()
