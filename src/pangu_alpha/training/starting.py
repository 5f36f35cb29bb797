"""Starting a run from weights alone, of this program or imported ones: fresh moments, a new schedule, the first sample.

That is no resume: nothing else of the run that made the weights is taken over, and nothing of it has to fit but the
network.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.checkpoint import Checkpoint, load_from
from pangu_alpha.config import ModelConfig
from pangu_alpha.console import say
from pangu_alpha.errors import CheckpointError, TokenizerError
from pangu_alpha.parallel.parameters import MOMENTS, parameter_names, row_of
from pangu_alpha.parallel.parts import Box
from pangu_alpha.training.backend import Read
from pangu_alpha.training.workers import Workers

Fill = Callable[[Read], None]
_FREE = ("dropout", "compute_dtype")
"""Settings of `model` that may be others than those of the run that made the weights."""


def load_weights(path: Path, fill: Fill, workers: Workers, model: ModelConfig, tokenizer: str) -> Checkpoint:
    """Fill a network with the weights at `path`, a checkpoint or a run's output, and moments of 0.

    Args:
        path: of the weights.
        fill: gets what gives each part of each tensor.
        workers: all read the same weights, or none does.
        model: the network.
        tokenizer: fingerprint of the one that the training data is made with.

    Raises:
        CheckpointError: they are of another network, or the ranks see different ones.
        TokenizerError: they belong to another tokenizer.
    """

    def load(checkpoint: Checkpoint) -> Checkpoint:
        _require_fitting(checkpoint, model, tokenizer)

        def read(name: str, box: Box) -> NDArray[np.floating]:
            return np.zeros(box.shape, np.float32) if name.startswith(MOMENTS) else checkpoint.read(name, box)

        if checkpoint.state.get("tokenizer_fingerprint") is None:
            say(f"{checkpoint.path} does not say to which tokenizer its weights belong: that of the data is taken")
        fill(read)
        return checkpoint

    found = load_from(path, load, say)
    # Asked once, after each rank has passed over what is damaged for it.
    if not workers.is_equal(found.index.checksum):
        raise CheckpointError(f"the ranks of this job do not see the same weights at {path}: give all of them a copy")
    return found


def check_weights(path: Path, model: ModelConfig, tokenizer: str) -> None:
    """Refuse, before anything is compiled, weights that `load_weights` would refuse; arguments and errors as there."""
    load_from(path, lambda checkpoint: _require_fitting(checkpoint, model, tokenizer), lambda line: None)


def _require_fitting(checkpoint: Checkpoint, model: ModelConfig, tokenizer: str) -> None:
    _require_network(checkpoint, model)
    shapes = {name: row_of(name).shape(model) for name in parameter_names(model)}
    checkpoint.require(shapes, weights_only=True)
    if (theirs := checkpoint.state.get("tokenizer_fingerprint")) not in (None, tokenizer):
        raise TokenizerError(
            f"the training data is made with the tokenizer {tokenizer}, and {checkpoint.path} belongs to {theirs}: its "
            "ids would mean other text. Pack the text with that tokenizer"
        )


def _require_network(checkpoint: Checkpoint, model: ModelConfig) -> None:
    saved = checkpoint.of_run("config").get("model", {})
    problems = []
    for name, value in model.model_dump(mode="json").items():
        default = ModelConfig.model_fields[name].default  # of what an older checkpoint does not know
        if name not in _FREE and saved.get(name, default) != value:
            problems.append(f"model.{name} is {saved.get(name, default)} there and {value} in the settings")
    if problems:
        raise CheckpointError(
            f"{checkpoint.path} holds the weights of another network: {'; '.join(problems)}. Set them as they are there"
        )
