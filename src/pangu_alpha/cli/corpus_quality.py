"""`pangu corpus train` and `compare`: classifiers, and which of two recipes makes the better text."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.errors import ConfigError, DataError
from pangu_alpha.files import file_sha256, remove, write_text
from pangu_alpha.reading import read_json
from pangu_alpha.run_folder import METRICS

if TYPE_CHECKING:
    from pangu_alpha.corpus.engine import Engine
    from pangu_alpha.corpus.quality import Comparison
    from pangu_alpha.quickstart.stages import Stages

_RAW = argparse.RawDescriptionHelpFormatter
_NAMES = ("first", "second")
_FILES_OF_A_SEED = (("network", ".yaml"), ("run", ""), ("dev", ".json"))
_BATCH, _SEQUENCE = 8, 64
# The network and the schedule of the quickstart, which were chosen for little text: with larger ones and fewer, longer
# steps the noise of a training is larger than what a recipe changes.
_RECIPE = """\
device: cpu
output: {run}
tokenizer: {tokenizer}
model: {{num_layers: 2, hidden_size: 192, num_heads: 4, vocab_size: {vocab_size}, seq_length: {sequence},
        final_norm: after_query_layer, dropout: 0.0, compute_dtype: float32}}
data: {{train: [{{path: {tokens}}}]}}
train: {{seed: {seed}, steps: {steps}, batch_size: {batch}, log_every: 50, checkpoint_every: {steps}}}
optimizer: {{kind: adamw, beta2: 0.99}}
schedule: {{learning_rate: 1.2e-3, end_learning_rate: 1.0e-5, warmup_steps: {warmup}, decay_steps: {steps}}}
"""


def add_train(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `train`."""
    parser = actions.add_parser(
        "train",
        help="train a classifier of good and bad texts, or a language model of good ones",
        description=(
            "With --bad: train a fastText classifier of characters, and measure it on a fifth of the texts, held out.\n"
            "Prints the threshold that drops most bad texts with the wanted precision: `min` of the rules spam and\n"
            "quality. With --web: count a language model of characters in the good texts, and print the perplexities\n"
            "that cut the web's into head (30 %), middle (30 %) and tail: `max` of the rule perplexity (CCNet)."
        ),
        epilog=(
            "examples:\n"
            "  pangu corpus train --good news.jsonl --bad spam.jsonl --output spam_model --precision 0.98\n"
            "  pangu corpus train --good encyclopedia.jsonl --web corpus/text --output language_model"
        ),
        formatter_class=_RAW,
    )
    parser.add_argument("--good", nargs="+", type=Path, required=True, metavar="PATH", help="files or folders of texts")
    others = parser.add_mutually_exclusive_group(required=True)
    others.add_argument("--bad", nargs="+", type=Path, metavar="PATH", help="the same, of bad ones")
    others.add_argument("--web", nargs="+", type=Path, metavar="PATH", help="the same, as the other rules leave them")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of the model")
    parser.add_argument(
        "--precision",
        type=float,
        default=0.95,
        metavar="P",
        help="bad ones of what is dropped (with --bad; %(default)s)",
    )
    parser.set_defaults(act=_train)


def add_compare(actions: argparse._SubParsersAction[argparse.ArgumentParser], recipe: str, inputs: str) -> None:
    """Declare `compare`."""
    parser = actions.add_parser(
        "compare",
        help="say which of two recipes makes the better text",
        description=(
            "Make a corpus with each recipe, train the same small network on the same number of tokens of each, and\n"
            "compare their perplexity on text of quality, with an interval of 95 % (paper §3.1.3)."
        ),
        epilog="example:\n  pangu corpus compare raw.yaml clean.yaml --input crawl/ --dev dev.jsonl --output compared",
        formatter_class=_RAW,
    )
    parser.add_argument("recipes", nargs=2, metavar="RECIPE", help=recipe)
    parser.add_argument("--input", nargs="+", required=True, metavar="PATH", help=inputs)
    parser.add_argument(
        "--dev", type=Path, required=True, metavar="FILE", help=".jsonl of texts of quality, not in the input"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of everything that is made")
    parser.add_argument("--tokens", type=int, metavar="N", help="to train on (default: those of the smaller corpus)")
    parser.add_argument("--tokenizer", type=Path, metavar="DIR", help="of both (default: learned from the --dev text)")
    parser.add_argument("--vocab-size", type=int, default=4000, metavar="N", help="of a learned one (%(default)s)")
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="networks of each recipe: the interval is one over seeds, too (1)",
    )
    parser.set_defaults(act=_compare)


def _train(arguments: argparse.Namespace) -> None:
    if arguments.web:
        _train_language_model(arguments)
    else:
        _train_classifier(arguments)


def _train_language_model(arguments: argparse.Namespace) -> None:
    from pangu_alpha.corpus.head_and_tail import MODEL, train_language_model

    cuts = train_language_model(arguments.good, arguments.web, arguments.output)
    print(f"learned    of {cuts.num_characters:,} characters; {cuts.num_web:,} texts of --web measured")
    print(f"cuts       head up to {cuts.head:.6g}, middle up to {cuts.middle:.6g}, tail above")
    model = (arguments.output / MODEL).absolute()
    print(f"recipe     rules: {{perplexity: {{model: {model}, max: {cuts.middle:.6g}}}}}")


def _train_classifier(arguments: argparse.Namespace) -> None:
    from pangu_alpha.corpus.training import MODEL, train

    if not 0 < arguments.precision <= 1:
        raise ConfigError(f"--precision {arguments.precision}: give a share above 0, at most 1")
    found = train(arguments.good, arguments.bad, arguments.output, arguments.precision)
    print(f"held out   {found.num_good:,} good texts, {found.num_bad:,} bad ones")
    drops = f"drops {found.recall:.2%} of the bad ones, with a precision of {found.precision:.2%}"
    print(f"threshold  {found.threshold:.6g}: {drops}")
    model = (arguments.output / MODEL).absolute()
    print(f"recipe     rules: {{spam: {{model: {model}, min: {found.threshold:.6g}}}}}")


def _compare(arguments: argparse.Namespace) -> None:
    from pangu_alpha.corpus.quality import compare
    from pangu_alpha.quickstart.stages import Stages

    if arguments.seeds < 1:
        raise ConfigError(f"--seeds {arguments.seeds}: give 1 or more")
    _make_corpora(arguments)
    stages = Stages(arguments.output, (2 if arguments.tokenizer else 3) + 4 * arguments.seeds)
    tokenizer = arguments.tokenizer or _learn_tokenizer(arguments, stages)
    for name in _NAMES:
        folder = arguments.output / name
        words = ("data", "pack", "--input", str(folder / "corpus" / "text"), "--tokenizer", str(tokenizer))
        _stage(stages, f"tokens_{name}", folder / "tokens.json", *words, "--output", str(folder / "tokens"))
    steps = _num_steps(arguments)
    pairs = []
    for seed in range(1, arguments.seeds + 1):
        first, second = (_score(arguments, stages, arguments.output / name, tokenizer, steps, seed) for name in _NAMES)
        pairs.append((first, second))
    found = compare([first for first, _ in pairs], [second for _, second in pairs])
    _print_comparison(arguments, steps, found)


def _print_comparison(arguments: argparse.Namespace, steps: int, found: Comparison) -> None:
    print(f"tokens      {steps * _BATCH * _SEQUENCE:,} of each corpus")
    print(f"perplexity  {found.first:.2f} with {arguments.recipes[0]}, {found.second:.2f} with {arguments.recipes[1]}")
    if arguments.seeds > 1:
        each = ", ".join(f"{ratio:.4f}" for ratio in found.ratios)
        print(f"seeds       {each}{': they disagree which is better' if found.seeds_disagree else ''}")
    print(f"ratio       {found.ratio:.4f}, from {found.low:.4f} to {found.high:.4f} (95 %): {found.verdict}")


def _score(
    arguments: argparse.Namespace, stages: Stages, folder: Path, tokenizer: Path, steps: int, seed: int
) -> list[tuple[float, int]]:
    """Train on the tokens in `folder`; nats and tokens of each batch of the text of quality."""
    recipe, run, scores = (folder / f"{name}_{seed}{end}" for name, end in _FILES_OF_A_SEED)
    text = _network(folder, run, tokenizer, steps, seed)
    write_text(recipe, text)
    _stage(stages, f"network_{folder.name}_{seed}", run / METRICS, "train", str(recipe), inputs=text, made=run)
    words = ("--checkpoint", str(run), "--input", str(arguments.dev), "--json", str(scores))
    _stage(stages, f"score_{folder.name}_{seed}", scores, "evaluate", "perplexity", *words)
    try:
        return [(nats, count) for nats, count in read_json(scores)["parts"]]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{scores} is damaged ({error!r}): remove it, and it is made again") from error


def _learn_tokenizer(arguments: argparse.Namespace, stages: Stages) -> Path:
    """Of the text that both are measured on: it favours neither, and is not dirty."""
    tokenizer: Path = arguments.output / "tokenizer"
    words = ("tokenizer", "train", "--input", str(arguments.dev), "--vocab-size", str(arguments.vocab_size))
    dev = file_sha256(arguments.dev)
    _stage(stages, "tokenizer", tokenizer, *words, "--output", str(tokenizer), inputs=dev, made=tokenizer)
    return tokenizer


def _stage(
    stages: Stages, name: str, product: Path, *words: str, inputs: object = "", made: Path | None = None
) -> None:
    """Run a command of `pangu` once for the same words, `inputs` and stages before; `made` is of other ones."""
    from pangu_alpha.quickstart.stages import pangu

    def work(was_begun: bool) -> None:
        if made is not None and not was_begun:
            remove(made)
        pangu(*words)

    stages.run(name, " ".join(words[:2]), (words, inputs), product, work)


def _make_corpora(arguments: argparse.Namespace) -> None:
    from pangu_alpha.cli.corpus import make_engine
    from pangu_alpha.corpus.load import load_recipe
    from pangu_alpha.corpus.running import run_corpus
    from pangu_alpha.corpus.sources.pieces import parse_inputs

    if not arguments.dev.is_file():
        raise DataError(f"--dev {arguments.dev}: there is no such file")
    recipes = [load_recipe(name) for name in arguments.recipes]
    engine: Engine = make_engine(None, None)
    try:
        for name, recipe in zip(_NAMES, recipes, strict=True):
            inputs = parse_inputs(arguments.input, list(recipe.sources))
            run_corpus(recipe, inputs, arguments.output / name / "corpus", engine)
    finally:
        engine.close()


def _num_steps(arguments: argparse.Namespace) -> int:
    from pangu_alpha.data import open_token_file

    tokens = [open_token_file(arguments.output / name / "tokens").info.num_tokens for name in _NAMES]
    wanted = arguments.tokens or min(tokens)
    steps: int = wanted // (_BATCH * _SEQUENCE)
    if wanted > min(tokens) or steps < 10:
        raise ConfigError(
            f"the corpora have {tokens[0]:,} and {tokens[1]:,} tokens, and a step takes {_BATCH * _SEQUENCE:,}: "
            f"--tokens must be from {10 * _BATCH * _SEQUENCE:,} to those of the smaller one"
        )
    return steps


def _network(folder: Path, run: Path, tokenizer: Path, steps: int, seed: int) -> str:
    from pangu_alpha.records import to_json
    from pangu_alpha.tokenizer import load_tokenizer

    return _RECIPE.format(
        seed=seed,
        run=to_json(str(run)),  # a path may hold what YAML reads otherwise
        tokenizer=to_json(str(tokenizer)),
        vocab_size=load_tokenizer(tokenizer).vocab_size,
        tokens=to_json(str(folder / "tokens")),
        steps=steps,
        batch=_BATCH,
        sequence=_SEQUENCE,
        warmup=max(1, steps // 15),
    )
