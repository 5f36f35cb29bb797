"""`pangu evaluate harness`: the command of lm-evaluation-harness, which then knows this project.

The harness has no place where packages add a model, so the model `pangu` is added here, and `harness/task_files/` are
among its tasks. Everything else is the harness's own; it stays offline, unless the environment says otherwise.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from pangu_alpha.command_line import Parser
from pangu_alpha.errors import ConfigError

NAME = "harness"
EXAMPLE = "  pangu evaluate harness --model_args checkpoint=run --metadata data=data_sets --tasks pangu_c3,pangu_chid"
_EPILOG = f"""examples:
{EXAMPLE}
  pangu evaluate harness --model_args checkpoint=run --metadata data=data_sets shots=few --tasks pangu_paper
  pangu evaluate harness --model hf --model_args pretrained=PATH --metadata data=data_sets --tasks pangu_paper
  pangu evaluate harness ls tasks
  pangu evaluate harness run --help
"""
_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE", "TRANSFORMERS_OFFLINE")
_VERBS = ("run", "ls", "validate")


def declare(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the action. Its words are the harness's."""
    parser = actions.add_parser(
        NAME,
        help="these tasks, and others, through lm-evaluation-harness",
        description="lm-evaluation-harness with the model pangu and the paper's tasks as pangu_TASK, offline.\n"
        "All words are the harness's own; --model and --include_path are there where they are not given.\n\n"
        "--model_args  checkpoint=PATH [tokenizer=PATH] [seed=N] [end_of_document=False]\n"
        "--metadata    data=DIR [seed=N] [shots=few] [TASK.FIELD=VALUE ...]",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    assert isinstance(parser, Parser)
    parser.passes_on = True


def run(words: Sequence[str]) -> None:
    """Hand `words` to the harness.

    Raises:
        ConfigError: the harness finds them wrong.
        ModuleNotFoundError: it is not installed.
    """
    for name in _OFFLINE:
        os.environ.setdefault(name, "1")
    from lm_eval.__main__ import cli_evaluate

    from pangu_alpha.harness.model import register

    register()
    sys.argv = ["lm_eval", *with_defaults(words)]
    try:
        cli_evaluate()
    except (ImportError, KeyError, ValueError) as error:
        raise ConfigError(f"lm-evaluation-harness says: {error}") from error


def with_defaults(words: Sequence[str]) -> list[str]:
    """The harness's arguments, with this project's model and tasks where `words` do not name others."""
    from pangu_alpha.harness.files import FOLDER

    verb, *rest = words if words and words[0] in _VERBS else ("run", *words)
    given = {word.partition("=")[0] for word in rest}
    if verb == "run" and not given & {"--model", "-M", "--config", "-C"}:
        rest += ["--model", "pangu"]
    if verb in ("run", "ls") and "--include_path" not in given:
        rest += ["--include_path", str(FOLDER)]
    return [verb, *rest]
