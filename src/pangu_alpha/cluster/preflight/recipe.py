"""Whether the recipe's mesh fits the network and the batch."""

from __future__ import annotations

import hashlib
import json

from pangu_alpha.cluster.preflight.finding import Finding, ok, refused
from pangu_alpha.config import RunConfig
from pangu_alpha.errors import ConfigError
from pangu_alpha.topology.schedule import pipeline_order


def recipe_hash(config: RunConfig) -> str:
    """Equal for two recipes with equal settings, however they are written."""
    return hashlib.sha256(json.dumps(config.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:12]


def check_mesh(config: RunConfig) -> list[Finding]:
    """Whether the micro-batches can be dealt out over the stages; the settings have checked the rest."""
    parallel = config.parallel
    try:
        pipeline_order(parallel, config.train.num_micro_batches)
    except ConfigError as error:
        return [refused("mesh", error, "lower parallel.pp")]
    sizes = f"dp {parallel.dp} × mp {parallel.mp} × pp {parallel.pp} = {parallel.num_devices} devices"
    return [ok("mesh", f"{sizes}, recipe {recipe_hash(config)}")]
