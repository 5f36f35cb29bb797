"""`pangu config`: what the recipes are and what their numbers imply."""

from __future__ import annotations

import argparse

import yaml

from pangu_alpha.config import (
    RECIPES,
    RunConfig,
    list_recipes,
    load_config,
    model_flops_per_token,
    tokens_per_step,
)
from pangu_alpha.console import si, write_data
from pangu_alpha.parallel.parameters import num_parameters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `show` and `list`."""
    parser.epilog = (
        "examples:\n  pangu config list\n  pangu config show 200b_2048\n"
        "  pangu config show configs/tiny_cpu.yaml model.num_layers=8 --yaml"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="print a recipe's arithmetic", description="Print a recipe's arithmetic.")
    show.add_argument("recipe", help="a YAML file or the name of a shipped recipe")
    show.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings that replace the recipe's")
    show.add_argument("--yaml", action="store_true", help="print every setting instead, defaults included")
    actions.add_parser("list", help="print the shipped recipes", description="Print the shipped recipes.")


def run(arguments: argparse.Namespace) -> None:
    """Carry out `pangu config ...`."""
    if arguments.action == "list":
        for name in list_recipes():
            config = load_config(name)
            print(
                f"{name:12} {si(num_parameters(config.model)):>6} parameters on {config.parallel.num_devices} device(s)"
            )
        print(f"in {RECIPES}")
        return
    config = load_config(arguments.recipe, arguments.overrides)
    if arguments.yaml:
        write_data(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True).encode())
    else:
        print("\n".join(f"{name:22} {value}" for name, value in describe(config)))


def describe(config: RunConfig) -> list[tuple[str, str]]:
    """Lines of (name, value): the arithmetic of `config`, each result beside what it is made of."""
    model, train, parallel = config.model, config.train, config.parallel
    tokens = tokens_per_step(config)
    flops = model_flops_per_token(model)
    samples = train.batch_size // (parallel.dp * train.num_micro_batches)
    return [
        (
            "network",
            f"{model.num_layers - 1} layers + 1 query layer, hidden {model.hidden_size}, {model.num_heads} heads "
            f"of {model.head_size}, final norm {model.final_norm.replace('_', ' ')}",
        ),
        ("parameters", f"{num_parameters(model):,} = L(12d² + 13d) + V·d + 2·S·d + 2d"),
        ("vocabulary", f"{model.vocab_size:,} pieces, {model.seq_length:,} positions, {model.compute_dtype} compute"),
        (
            "devices",
            f"dp {parallel.dp} × mp {parallel.mp} × pp {parallel.pp} = {parallel.num_devices} ({config.device})",
        ),
        (
            "samples a step",
            f"{train.batch_size:,} = {samples} × dp {parallel.dp} × {train.num_micro_batches} micro-batches",
        ),
        ("tokens a step", f"{tokens:,} = {train.batch_size:,} samples × {model.seq_length:,}"),
        ("steps", f"{train.steps:,}"),
        ("tokens", f"{tokens * train.steps:,} ({tokens * train.steps / num_parameters(model):.3g} a parameter)"),
        ("FLOPs a token", f"{flops:,} forward and backward, without recomputation"),
        ("FLOPs a step", f"{flops * tokens:.4g}"),
        ("total FLOPs", f"{flops * tokens * train.steps:.4g}"),
        (
            "learning rate",
            f"0 → {config.schedule.learning_rate:g} in {config.schedule.warmup_steps:,} steps, "
            f"cosine to {config.schedule.end_learning_rate:g} at step {config.schedule.decay_steps:,}",
        ),
        (
            "optimizer",
            f"{config.optimizer.kind}, betas {config.optimizer.beta1} {config.optimizer.beta2}, "
            f"weight decay {config.optimizer.weight_decay}, clip at norm {config.optimizer.clip_norm}",
        ),
    ]
