"""`pangu checkpoint convert`: weights from any form to any other, and checkpoints in another layout."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pangu_alpha.console import progress, say, si
from pangu_alpha.errors import CheckpointError, ConfigError
from pangu_alpha.run_folder import CHECKPOINTS

if TYPE_CHECKING:
    from pangu_alpha.config import ParallelConfig, RunConfig
    from pangu_alpha.convert import Weights

_OURS = "pangu"
_MAX_NAMES = 4
_LAYOUT_KEYS = {"released": ("dp", "mp", "optimizer_sharding"), "megatron": ("mp",)}
"""Settings of `parallel` that say into which slices a form is cut."""
_READERS = {
    "released": "programs that read it compute the tanh form",
    "megatron": "Megatron-LM computes it with erf, and in the tanh form if it is run with --bias-gelu-fusion",
}
"""What becomes of GeLU where the form does not say it."""
WORDS = {
    _OURS: "a checkpoint of this program: a step_* folder, or a run's output",
    "released": "as 2.6B and 13B were published: MindSpore's .ckpt slices, a strategy file and three .npy tables",
    "huggingface-imone": "a folder for Hugging Face transformers, as imone's pangu_2_6B (attn.out_proj)",
    "huggingface-sunzeyeah": "the same as sunzeyeah's pangu-* and MindNLP read it (attn.c_proj)",
    "megatron": "the port to Megatron-LM 1.1: iter_*/mp_rank_*/model_optim_rng.pt, with a padded vocabulary",
}
"""The forms, by the words of --from and --to."""
DESCRIPTION = (
    "Write a checkpoint as the ranks of another mesh would have, or weights from one form to another:\n\n"
    + "".join(f"  {word:<22} {summary}\n" for word, summary in WORDS.items())
    + "\nWhat is made of weights of others is an ordinary checkpoint without moments: `pangu generate`, `pangu "
    "evaluate`\nand `pangu train --weights` take it. Nothing that a file names is run, and nothing is overwritten."
)
EXAMPLES = (
    "examples:\n"
    "  pangu checkpoint convert runs/a converted parallel.dp=1 parallel.mp=4\n"
    "  pangu checkpoint convert Pangu-alpha_2.6B imported --strategy pangu_alpha_2.6B_ckpt_strategy.ckpt \\\n"
    "      --tokenizer vocab.model\n"
    "  pangu checkpoint convert pangu_2_6B imported model.gelu=tanh\n"
    "  pangu checkpoint convert imported for_transformers --to huggingface-sunzeyeah --type float16\n"
    "  pangu checkpoint convert imported for_megatron --to megatron parallel.mp=4\n"
    "  pangu checkpoint convert imported as_released --to released parallel.dp=64 parallel.mp=8 \\\n"
    "      parallel.optimizer_sharding=true"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("source", type=Path, help="what to read")
    parser.add_argument("output", type=Path, help="new; a run's output where --to is pangu, else a folder")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="section.key=value",
        help="parallel.*: the layout; reading weights of others also what their files do not say, like model.num_heads",
    )
    parser.add_argument("--from", dest="source_form", choices=WORDS, metavar="FORM", help="default: what it looks like")
    parser.add_argument("--to", dest="output_form", choices=WORDS, default=_OURS, metavar="FORM", help="default: pangu")
    parser.add_argument(
        "--strategy", type=Path, metavar="FILE", help="of released weights; default: *strategy*.ckpt there"
    )
    parser.add_argument(
        "--tokenizer", type=Path, metavar="PATH", help="that imported weights belong to; remembered and checked later"
    )
    parser.add_argument(
        "--type", choices=("float32", "float16"), default="float32", help="of the numbers that others read (float32)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Carry out `pangu checkpoint convert`."""
    from pangu_alpha.convert import detect

    form = arguments.source_form or detect(arguments.source)
    _require_sense(arguments, form)
    if form == arguments.output_form == _OURS:
        _rewrite(arguments)
        return
    if form == _OURS:
        _require_layout(arguments)
        _export(arguments, _from_checkpoint(arguments))
        return
    config, weights = _from_others(arguments, form)
    if arguments.output_form == _OURS:
        _import(arguments, form, config, weights)
    else:
        _export(arguments, weights)


def _require_sense(arguments: argparse.Namespace, form: str) -> None:
    """Refuse options that would be read by nobody."""
    is_import = form != _OURS and arguments.output_form == _OURS
    for option, is_given, is_read, reader in (
        ("--strategy", arguments.strategy is not None, form == "released", "for reading the form released"),
        ("--tokenizer", arguments.tokenizer is not None, is_import, "for importing to a checkpoint of ours"),
        ("--type", arguments.type != "float32", arguments.output_form != _OURS, "for writing a form of others"),
    ):
        if is_given and not is_read:
            raise ConfigError(f"{option} is {reader}; here {form} becomes {arguments.output_form}: leave it out")


def _rewrite(arguments: argparse.Namespace) -> None:
    from pangu_alpha.checkpoint import checkpoints_at, list_checkpoints, open_checkpoint, step_name
    from pangu_alpha.checkpoint.comparing import rewrite
    from pangu_alpha.config import ParallelConfig, build_config
    from pangu_alpha.locks import only_one

    found = open_checkpoint(checkpoints_at(arguments.source)[-1])
    _require_layout(arguments)
    settings = {**found.of_run("config"), "parallel": ParallelConfig().model_dump(mode="json")}
    config = build_config(settings, arguments.overrides, source=f"{found.path}/index.json")
    path = arguments.output / CHECKPOINTS / step_name(found.step)
    if list_checkpoints(path.parent):
        raise CheckpointError(f"{arguments.output} has checkpoints already: name a new output")
    arguments.output.mkdir(parents=True, exist_ok=True)
    state = {**found.state, "config": config.model_dump(mode="json")}
    lock = only_one(arguments.output / ".rank_0.lock", f"the run {arguments.output}", "name a new output")
    with lock, progress("converting", found.num_bytes, "bytes") as advance:
        rewrite(found, path.parent, config.model, config.parallel, state, advance)
    print(f"{path}: the same tensors as {config.parallel.num_devices:,} ranks write them")


def _require_layout(arguments: argparse.Namespace) -> None:
    wrong = [word for word in arguments.overrides if not word.startswith("parallel.")]
    if wrong:
        raise ConfigError(f"{wrong[0]} is no setting of the layout: only parallel.* can be given here")


def _from_checkpoint(arguments: argparse.Namespace) -> Weights:
    from pangu_alpha.checkpoint import checkpoints_at, open_checkpoint
    from pangu_alpha.convert import weights_of_checkpoint

    return weights_of_checkpoint(open_checkpoint(checkpoints_at(arguments.source)[-1]))


def _from_others(arguments: argparse.Namespace, form: str) -> tuple[RunConfig, Weights]:
    from pangu_alpha.convert import open_source, weights_of

    source = open_source(arguments.source, form, arguments.strategy)
    if source.left_out:
        named = ", ".join(source.left_out[:_MAX_NAMES]) + (", …" if source.left_out[_MAX_NAMES:] else "")
        say(f"left out, because they are no weights: {len(source.left_out):,} tensors ({named})")
    network = [word for word in arguments.overrides if not word.startswith("parallel.")]
    if arguments.output_form == _OURS and network != arguments.overrides:
        raise ConfigError("parallel.* says nothing here: any mesh reads a checkpoint of ours, however it was written")
    return weights_of(source, network)


def _layout(form: str, overrides: Sequence[str]) -> ParallelConfig:
    """The layout that `overrides` say of slices that others read; nothing of how a run was trained matters to it."""
    from pydantic import ValidationError

    from pangu_alpha.config import ParallelConfig
    from pangu_alpha.reading.strict_yaml import parse_yaml

    values = {}
    for word in overrides:
        key, _, text = word.removeprefix("parallel.").partition("=")
        if key not in _LAYOUT_KEYS.get(form, ()):
            known = ", ".join(f"parallel.{name}" for name in _LAYOUT_KEYS.get(form, ())) or "no setting of the layout"
            raise ConfigError(f"parallel.{key} says nothing in the form {form}, which has {known}")
        values[key] = parse_yaml(text)
    try:
        return ParallelConfig(**values)
    except ValidationError as error:
        lines = (f"parallel.{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ConfigError("; ".join(lines)) from error


def _import(arguments: argparse.Namespace, form: str, config: RunConfig, weights: Weights) -> None:
    from pangu_alpha.config import build_config
    from pangu_alpha.convert import total_bytes, write_checkpoint
    from pangu_alpha.parallel.parameters import num_parameters

    state: dict[str, Any] = {"tokenizer_fingerprint": None, "imported": {"from": str(arguments.source), "form": form}}
    if arguments.tokenizer is not None:
        from pangu_alpha.tokenizer import load_tokenizer

        tokenizer = load_tokenizer(arguments.tokenizer)
        if tokenizer.vocab_size != config.model.vocab_size:
            raise ConfigError(
                f"{arguments.tokenizer} has {tokenizer.vocab_size:,} words, these weights {config.model.vocab_size:,}: "
                "it is another vocabulary"
            )
        state["tokenizer_fingerprint"] = tokenizer.fingerprint
        settings = {**config.model_dump(mode="json"), "tokenizer": str(arguments.tokenizer)}
        config = build_config(settings, source=str(arguments.source))
    with progress("importing", total_bytes(config.model), "bytes") as advance:
        path = write_checkpoint(arguments.output, config, weights, state, advance)
    model = config.model
    print(f"{path}: {si(num_parameters(model))} parameters, without moments, from the form {form}")
    print(
        f"{model.num_layers - 1} layers and the query layer of {model.hidden_size}, {model.num_heads} heads, "
        f"{model.vocab_size:,} words, {model.seq_length:,} positions, model.gelu={model.gelu}, "
        f"model.final_norm={model.final_norm}"
    )


def _export(arguments: argparse.Namespace, weights: Weights) -> None:
    from pangu_alpha.convert import DIALECTS, total_bytes, write_dialect

    form, gelu = arguments.output_form, weights.model.gelu
    parallel = _layout(form, [word for word in arguments.overrides if word.startswith("parallel.")])
    if form in _READERS and gelu != DIALECTS[form].gelu:
        say(
            f"this network has model.gelu={gelu}, of which the form {form} says nothing: {_READERS[form]}. To import "
            f"it again, give model.gelu={gelu}"
        )
    with progress("exporting", total_bytes(weights.model, arguments.output_form), "bytes") as advance:
        write_dialect(arguments.output, arguments.output_form, weights, parallel, arguments.type, advance)
    print(f"{arguments.output}: weights in the form {arguments.output_form}, {arguments.type}")
