"""`python -m pangu_alpha.harness`: the command of lm-evaluation-harness, which then knows this project.

It has no place where packages add a model, so the model `pangu` is added here, and `task_files/` are among its tasks.
Everything else is the harness's own; it is told to stay offline, unless the environment says otherwise.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from pangu_alpha.command_line import run_program
from pangu_alpha.harness.files import FOLDER

_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
_VERBS = ("run", "ls", "validate")
_HELP = """\
lm-evaluation-harness with the model pangu and the tasks pangu_*:
  python -m pangu_alpha.harness --model_args checkpoint=RUN --metadata data=DATA_SETS --tasks pangu_c3,pangu_chid
  python -m pangu_alpha.harness --model_args checkpoint=RUN --metadata data=DATA_SETS --tasks pangu_c3 --num_fewshot 3
  python -m pangu_alpha.harness --model hf --model_args pretrained=PATH --metadata data=DATA_SETS --tasks pangu_paper
  python -m pangu_alpha.harness ls tasks
What follows is its own help.
"""


def with_defaults(words: Sequence[str]) -> list[str]:
    """The harness's arguments, with this project's model and tasks where `words` do not name others."""
    verb, rest = (words[0], words[1:]) if words and words[0] in _VERBS else ("run", words)
    given = {word.partition("=")[0] for word in rest}
    found = [verb, *rest]
    if verb == "run" and not given & {"--model", "-M"}:
        found += ["--model", "pangu"]
    if verb in ("run", "ls") and "--include_path" not in given:
        found += ["--include_path", str(FOLDER)]
    return found


def _work() -> int:
    words = sys.argv[1:]
    if {"-h", "--help"} & set(words):
        print(_HELP)
    for name in _OFFLINE:
        os.environ.setdefault(name, "1")
    from lm_eval.__main__ import cli_evaluate

    from pangu_alpha.runtime.device import prepare_environment

    prepare_environment(False)
    import pangu_alpha.harness.model  # noqa: F401 - registers the model

    sys.argv = ["lm_eval", *with_defaults(words)]
    cli_evaluate()
    return 0


if __name__ == "__main__":
    sys.exit(run_program("pangu_alpha.harness", _work))
