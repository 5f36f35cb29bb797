"""The token files and the tokenizer."""

from __future__ import annotations

from pangu_alpha.cluster.preflight.finding import Finding, bad, ok, refused, skipped
from pangu_alpha.config import DataConfig, RunConfig
from pangu_alpha.console import si
from pangu_alpha.errors import ConfigError, PanguError

_PACK = "make it again with `pangu data pack`, or copy its .bin, .idx and .json here"


def check_data(config: RunConfig) -> tuple[list[Finding], str]:
    """Whether every token file can be read, is whole, fits the network, and was packed with the recipe's tokenizer.

    Returns:
        The findings, and what the training data is: equal on two hosts that will read the same samples.
    """
    # They import numpy, which `pangu doctor --help` need not wait for.
    from pangu_alpha.data import open_training_data, open_validation_data

    findings, tokenizer = _check_tokenizer(config)
    for key in ("train", "validation"):
        for number, source in enumerate(getattr(config.data, key)):
            what = f"data.{key}[{number}]"
            alone = config.model_copy(update={"data": DataConfig(validation=(source,))})
            try:
                data = open_validation_data(alone, tokenizer)
            except PanguError as error:
                findings.append(refused(what, error, _PACK))
                continue
            info = data.sources[0].info
            tokenizer = tokenizer or info.tokenizer_fingerprint
            findings.append(ok(what, f"{source.path}, {si(info.num_tokens)} tokens of {info.tokenizer_fingerprint}"))
    if any(finding.state == "bad" for finding in findings):
        return findings, "unreadable"
    try:
        return findings, open_training_data(config, tokenizer).fingerprint
    except ConfigError:
        return findings, "unreadable"  # `check_recipe` says why.
    except PanguError as error:
        return [*findings, refused("data.train", error, _PACK)], "unreadable"


def _check_tokenizer(config: RunConfig) -> tuple[list[Finding], str | None]:
    from pangu_alpha.tokenizer import load_tokenizer

    if config.tokenizer is None:
        return [skipped("tokenizer", "the recipe names none")], None
    try:
        tokenizer = load_tokenizer(config.tokenizer)
    except PanguError as error:
        return [refused("tokenizer", error, "copy the tokenizer's directory again")], None
    if tokenizer.vocab_size > config.model.vocab_size:
        found = f"{tokenizer.vocab_size:,} ids, but model.vocab_size is {config.model.vocab_size:,}"
        return [
            bad("tokenizer", found, f"set model.vocab_size to {tokenizer.vocab_size} or more")
        ], tokenizer.fingerprint
    return [ok("tokenizer", f"{config.tokenizer}, {tokenizer.fingerprint}")], tokenizer.fingerprint
