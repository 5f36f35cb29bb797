"""What a checkpoint means to those who use the network: the network, its settings and its tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mindspore import Tensor

from pangu_alpha.checkpoint import Checkpoint, load_from
from pangu_alpha.config import DeviceKind, RunConfig, build_config
from pangu_alpha.console import say
from pangu_alpha.errors import TokenizerError
from pangu_alpha.model import PanguAlpha
from pangu_alpha.parallel.parts import Box
from pangu_alpha.runtime.device import set_device
from pangu_alpha.tokenizer import Tokenizer, load_tokenizer


@dataclass(frozen=True)
class TrainedModel:
    """A network with its weights, not in training mode."""

    network: PanguAlpha
    config: RunConfig
    tokenizer: Tokenizer
    checkpoint: Checkpoint


def load_trained(
    path: Path, tokenizer: Path | None = None, device: DeviceKind | None = None, *, fuse_operators: bool = False
) -> TrainedModel:
    """Open a checkpoint, or the newest good one of a run's directory, and set MindSpore's device.

    Args:
        path: a checkpoint or a run's output directory.
        tokenizer: where the tokenizer is; None: where the run's settings say.
        device: where to compute; None: where the run did.
        fuse_operators: do so if the run did. It pays for whole windows of tokens, not for one token at a time.

    Raises:
        CheckpointError: there is no checkpoint, it is damaged, or it is of another network than its settings say.
        TokenizerError: there is no tokenizer, it is damaged, or it is not the one the network was trained with.
        DeviceError: MindSpore cannot use the device here.
    """
    return load_from(path, lambda checkpoint: _load(checkpoint, tokenizer, device, fuse_operators), say)


def _load(
    checkpoint: Checkpoint, tokenizer: Path | None, device: DeviceKind | None, fuse_operators: bool
) -> TrainedModel:
    settings = checkpoint.of_run("config")
    overrides = [] if device is None else [f"device={device}"]
    if (device or settings["device"]) == "cpu" and settings["model"]["compute_dtype"] == "bfloat16":
        say("MindSpore has no bfloat16 matrix product for the CPU: computing in float32")
        overrides.append("model.compute_dtype=float32")
    config = build_config(settings, overrides, source=f"{checkpoint.path}/index.json")
    opened = _open_tokenizer(checkpoint, tokenizer or config.tokenizer)
    is_half = config.model.compute_dtype == "float16"
    set_device(config.device, fuse_operators and config.fuse_operators, is_half)
    # Not `build_network`: drawing starting values that are replaced at once takes minutes for a large network.
    network = PanguAlpha(config.model)
    parameters = network.trainable_params()
    checkpoint.require({item.name: tuple(item.shape) for item in parameters}, weights_only=True)
    for item in parameters:
        item.set_data(Tensor(checkpoint.read(item.name, Box.all_of(item.shape))))
    network.set_train(False)
    return TrainedModel(network, config, opened, checkpoint)


def _open_tokenizer(checkpoint: Checkpoint, path: Path | None) -> Tokenizer:
    if path is None:
        raise TokenizerError(f"the settings in {checkpoint.path} name no tokenizer: give it with --tokenizer")
    if not path.exists():
        raise TokenizerError(
            f"no tokenizer at {path} (a path in the settings is relative to the directory of the training run): "
            "give it with --tokenizer"
        )
    tokenizer = load_tokenizer(path)
    expected = checkpoint.of_run("tokenizer_fingerprint")
    if expected is None:
        say(f"{checkpoint.path} does not say to which tokenizer its weights belong: {path} is taken as it is")
        return tokenizer
    if tokenizer.fingerprint != expected:
        raise TokenizerError(
            f"{path} is the tokenizer {tokenizer.fingerprint}, but {checkpoint.path} was trained with {expected}: "
            "its ids would mean other text. Give that tokenizer with --tokenizer"
        )
    return tokenizer
