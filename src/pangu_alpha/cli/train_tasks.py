"""The tasks that `pangu train` measures between steps, and who answers them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pangu_alpha.cli.backends import is_first_rank

if TYPE_CHECKING:
    from pangu_alpha.config import RunConfig
    from pangu_alpha.evaluation.tasks.measure import Plan
    from pangu_alpha.evaluation.tasks.network import NetworkScorer
    from pangu_alpha.evaluation.tasks.ranks import RankScorer
    from pangu_alpha.model import PanguAlpha
    from pangu_alpha.training.backend import Backend
    from pangu_alpha.training.callbacks import Callback
    from pangu_alpha.training.runnable import BackendName


def open_tasks(config: RunConfig, kind: BackendName) -> Sequence[Plan]:
    """What this process will ask; only rank 0 asks, and needs the data sets.

    Args:
        config: of the run.
        kind: who computes.

    Raises:
        ConfigError: a task does not exist, or cannot be measured so.
        DataError: its files are missing, or not in the published format.
    """
    if not config.tasks.names or not is_first_rank():
        return []
    from pangu_alpha.evaluation.tasks.in_training import plans_of
    from pangu_alpha.tokenizer import load_tokenizer

    assert config.tokenizer is not None
    is_shared = kind == "emulator" or config.device == "ascend"
    return plans_of(config.tasks, is_shared, load_tokenizer(config.tokenizer), config.model.seq_length)


def measure_tasks(config: RunConfig, plans: Sequence[Plan], backend: Backend, network: PanguAlpha | None) -> Callback:
    """The callback that measures.

    Args:
        config: of the run.
        plans: what this process asks.
        backend: of the training; it measures losses.
        network: the whole one; None where ranks share it.
    """
    from pangu_alpha.evaluation.tasks.in_training import MeasureTasks
    from pangu_alpha.parallel.parameters import num_parameters
    from pangu_alpha.tokenizer import load_tokenizer

    assert config.tokenizer is not None and backend.mean_loss is not None
    tokenizer = load_tokenizer(config.tokenizer)
    facts: dict[str, object] = {
        "name": str(config.output),
        "parameters": num_parameters(config.model),
        "tokenizer": tokenizer.fingerprint,
        "window": config.model.seq_length,
    }
    scorer: NetworkScorer | RankScorer
    if network is not None:
        from pangu_alpha.evaluation.tasks.network import NetworkScorer

        scorer = NetworkScorer(network, config.model, tokenizer, facts)
    else:
        from pangu_alpha.evaluation.tasks.ranks import RankScorer

        scorer = RankScorer(config, tokenizer, backend.mean_loss, backend.workers, facts)
    return MeasureTasks(plans, scorer, facts, lambda: scorer.asking(backend.is_main))
