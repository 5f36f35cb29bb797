"""From text to a trained network that writes: the stages of the quickstart."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shlex
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pangu_alpha.config import RECIPES, load_config, tokens_per_step
from pangu_alpha.data.documents import find_files, read_texts
from pangu_alpha.data.example import PACKAGE
from pangu_alpha.errors import TokenizerError
from pangu_alpha.files import write_text
from pangu_alpha.quickstart.stages import BIN, Stages, announce, pangu
from pangu_alpha.reading import parse_json, read_json
from pangu_alpha.run_folder import LOSS_PICTURE, METRICS, TENSORBOARD
from pangu_alpha.tokenizer import train_tokenizer as learn_pieces

RECIPE = Path(os.path.relpath(RECIPES / "quickstart.yaml"))
PROMPTS = ("话说天下大势，", "却说曹操", "玄德曰：")
_EPOCHS = 5
"""Passes over the text when it is the user's own and too small for the recipe's steps."""
_MIN_STEPS = 200


class Quickstart:
    """The stages, in the order of their methods."""

    def __init__(self, output: Path, text: Sequence[Path], overrides: Sequence[str]) -> None:
        """Check what the user gave.

        Args:
            output: directory of all products.
            text: the user's own files; empty: the novel.
            overrides: settings that replace the recipe's.

        Raises:
            PanguError: a file or a setting is wrong.
        """
        self._vocab_size = load_config(RECIPE, overrides).model.vocab_size
        self._files = find_files(text)
        self._overrides = overrides
        output.mkdir(parents=True, exist_ok=True)
        self._stages = Stages(output, num_stages=8)
        self._output = output
        self._novel = output / "corpus.jsonl"
        self._split, self._tokenizer, self._tokens, self._run = (
            output / name for name in ("text", "tokenizer", "tokens", "train")
        )
        self._train, self._validation = self._split / "train.jsonl", self._split / "validation.jsonl"

    def run(self) -> None:
        """Do all stages.

        Raises:
            PanguError: a stage failed or was stopped.
        """
        self._prepare()
        self._learn()
        self._measure()
        continuations = self._output / "continuations.jsonl"
        self._stages.run(
            "generate", "continue three prompts", PROMPTS, continuations, lambda _: generate(self._run, continuations)
        )

    def _prepare(self) -> None:
        run, files, novel = self._stages.run, self._files, self._novel
        if files:
            contents = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
            run("corpus", f"{len(files)} file(s) of --text", contents, files[0], lambda _: None)
        else:
            fetch = ("data", "example", "--output", str(novel))
            run("corpus", f"the novel 三国演义 from the package {PACKAGE}", PACKAGE, novel, lambda _: pangu(*fetch))
        command = ["data", "split", "--input", *map(str, files or [novel]), "--output", str(self._split)]
        if files:
            # At least 40 pieces, so that two of them are held out; a character takes 3 bytes.
            length = sum(file.stat().st_size for file in files) // 120
            command += ["--piece-length", str(max(length, 100))] if length < 4000 else []
        run("split", "hold out a twentieth of the text", (), self._train, lambda _: pangu(*command))

    def _learn(self) -> None:
        run = self._stages.run
        # A piece that occurs only a few times teaches nothing: some 50 characters, of 3 bytes, for each.
        pieces = min(self._vocab_size, max(1000, self._train.stat().st_size // 150))
        product = self._tokenizer / "tokenizer.json"
        learn = partial(train_tokenizer, self._train, self._tokenizer, pieces)
        run("tokenizer", f"learn {pieces:,} pieces", pieces, product, lambda _: learn())
        packing = partial(pack, self._split, self._tokenizer, self._tokens)
        run("tokens", "pack the text", (), self._tokens / "validation.json", lambda _: packing())
        settings = settings_for(self._output, self._overrides, is_own_text=bool(self._files))
        config = load_config(RECIPE, settings)
        steps = f"{config.train.steps:,} steps"
        run("train", steps, config, self._run / LOSS_PICTURE, partial(train_network, settings, self._run))

    def _measure(self) -> None:
        score, counts = self._output / "perplexity.json", self._output / "ngrams.json"
        held_out = ["--input", str(self._validation)]
        network = ["evaluate", "perplexity", "--checkpoint", str(self._run), *held_out, "--json", str(score)]
        counting = ["evaluate", "ngrams", "--train", str(self._train), *held_out, "--json", str(counts)]
        self._stages.run("evaluate", "score the held-out text", (), score, lambda _: pangu(*network))
        purpose = "score it with models that only count characters"
        self._stages.run("ngrams", purpose, (), counts, lambda _: pangu(*counting))


def train_tokenizer(text: Path, folder: Path, vocab_size: int) -> None:
    """Learn `vocab_size` pieces, or the nearest number that the text allows, which the tokenizer's error names.

    Raises:
        TokenizerError: no number of pieces will do.
    """
    shutil.rmtree(folder, ignore_errors=True)
    announce("tokenizer", "train", "--input", str(text), "--output", str(folder), "--vocab-size", str(vocab_size))
    try:
        learn_pieces(read_texts([text]), folder, vocab_size)
    except TokenizerError as error:
        possible = re.search(r"--vocab-size (?:up to|of at least) (\d+)", str(error))
        if possible is None or int(possible[1]) == vocab_size:
            raise
        print(f"      {error}", flush=True)
        train_tokenizer(text, folder, int(possible[1]))


def pack(split: Path, tokenizer: Path, tokens: Path) -> None:
    """Pack both parts of the text."""
    for part in ("train", "validation"):
        text = str(split / f"{part}.jsonl")
        pangu("data", "pack", "--input", text, "--tokenizer", str(tokenizer), "--output", str(tokens / part))


def settings_for(output: Path, overrides: Sequence[str], is_own_text: bool) -> list[str]:
    """What must replace the recipe's settings: the places, the vocabulary, and the steps when the user's text is small.

    The user's `overrides` come last, so that they win.
    """
    recipe, wanted = load_config(RECIPE), load_config(RECIPE, overrides)
    places = [
        _setting("output", str(output / "train")),
        _setting("tokenizer", str(output / "tokenizer")),
        *(_setting(f"data.{part}", [{"path": str(output / "tokens" / part)}]) for part in ("train", "validation")),
    ]
    settings = [setting for setting in places if load_config(RECIPE, [setting]) != recipe]
    info = read_json(output / "tokens" / "train.json")
    if info["vocab_size"] != recipe.model.vocab_size:
        settings.append(_setting("model.vocab_size", info["vocab_size"]))
    steps = wanted.train.steps
    if is_own_text and steps == recipe.train.steps:
        steps = max(_MIN_STEPS, min(steps, _EPOCHS * info["num_tokens"] // tokens_per_step(wanted)))
        settings += [f"train.steps={steps}"] if steps != recipe.train.steps else []
    if steps != recipe.train.steps:
        settings += [f"schedule.decay_steps={steps}", f"schedule.warmup_steps={steps // 10}"]
    return [*settings, *overrides]


def train_network(settings: Sequence[str], run: Path, was_begun: bool) -> None:
    """Train in `run`; a run there that was begun with the same inputs goes on, another one is put aside."""
    if run.exists() and not was_begun:
        names = (f"{run.name}_old_{number}" for number in itertools.count(1))
        place = next(path for name in names if not (path := run.with_name(name)).exists())
        run.rename(place)
        print(f"      the earlier run had other inputs: it is now {place}", flush=True)
    pangu("train", str(RECIPE), *settings)


def generate(run: Path, target: Path) -> None:
    """Continue the prompts and write one JSON object a line to `target`."""
    sampling = ["--temperature", "0.8", "--top-p", "0.9", "--max-new-tokens", "80", "--seed", "1"]
    lines = pangu("generate", "--checkpoint", str(run), "--prompt", *PROMPTS, *sampling, "--json", keep_stdout=True)
    write_text(target, lines.decode())


def summarise(output: Path) -> str:
    """What came out, read from the products in `output`."""
    score: dict[str, Any] = read_json(output / "perplexity.json")
    counts: dict[str, Any] = read_json(output / "ngrams.json")
    written = (output / "continuations.jsonl").read_bytes().splitlines()
    lines = [
        "",
        f"held-out text, {score['characters']:,} characters           bits per character",
        f"  unigram of characters                  {counts['unigram_bits_per_character']:8.3f}",
        f"  trigram of characters                  {counts['trigram_bits_per_character']:8.3f}",
        f"  PanGu-α after {score['step']:,} steps".ljust(41) + f"{score['bits_per_character']:8.3f}"
        f"   (perplexity {score['perplexity']:.1f} a token)",
        "",
        *(_quote(parse_json(line.decode())) for line in written),
    ]
    run = output / "train"
    for name, path in (
        ("loss of every step", run / METRICS),
        ("picture of it", run / LOSS_PICTURE),
        ("TensorBoard", shlex.join([str(BIN / "tensorboard"), "--logdir", str(run / TENSORBOARD)])),
        ("checkpoint", score["checkpoint"]),
        ("recipe", RECIPE),
        ("write more", f"{shlex.join([str(BIN / 'pangu'), 'generate', '--checkpoint', str(run)])} --prompt 却说孔明"),
        ("pangu on the PATH", f"source {shlex.quote(str(BIN / 'activate'))}"),
    ):
        lines.append(f"{name:20} {path}")
    return "\n".join(lines)


def _quote(entry: dict[str, Any]) -> str:
    return f"  {entry['prompt']}▸{' '.join(entry['continuation'].split())}\n"


def _setting(key: str, value: object) -> str:
    # JSON is YAML: whatever characters a path has, it is read back as it was. A plain path needs no quotes.
    is_plain = isinstance(value, str) and re.fullmatch(r"[\w.-]*/[\w./-]+", value)
    return f"{key}={value if is_plain else json.dumps(value, ensure_ascii=False)}"
