"""Whether the recipe's mesh fits the network and the batch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from pangu_alpha.cluster.preflight.finding import Finding, ok, refused
from pangu_alpha.config import RunConfig
from pangu_alpha.errors import ConfigError
from pangu_alpha.topology.schedule import pipeline_order
from pangu_alpha.topology.stages import place_layers


def recipe_hash(config: RunConfig) -> str:
    """Equal for two recipes with equal settings, however they are written."""
    return hashlib.sha256(json.dumps(config.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:12]


def check_mesh(config: RunConfig) -> list[Finding]:
    """Whether layers and micro-batches can be dealt out over the stages; the settings have checked the rest."""
    model, parallel = config.model, config.parallel
    findings = []
    placements: tuple[Callable[[], object], ...] = (
        lambda: place_layers(model, parallel),
        lambda: pipeline_order(parallel, config.train.num_micro_batches),
    )
    for place in placements:
        try:
            place()
        except ConfigError as error:
            findings.append(refused("mesh", error, "lower parallel.pp"))
    sizes = f"dp {parallel.dp} × mp {parallel.mp} × pp {parallel.pp} = {parallel.num_devices} devices"
    return findings or [ok("mesh", f"{sizes}, recipe {recipe_hash(config)}")]
