"""Whether the recipe can be trained."""

from __future__ import annotations

import hashlib
import json

from pangu_alpha.cluster.preflight.finding import Finding, ok, refused
from pangu_alpha.config import RunConfig
from pangu_alpha.training.runnable import refusals


def recipe_hash(config: RunConfig) -> str:
    """Equal for two recipes with equal settings, however they are written."""
    return hashlib.sha256(json.dumps(config.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:12]


def check_recipe(config: RunConfig) -> list[Finding]:
    """Whether `pangu train` would take the recipe; the settings have checked the rest."""
    # How many processes there are, the launcher decides; the variables that it will not set are checked elsewhere.
    errors = refusals(config, "mindspore", num_processes=None)
    findings = [refused("recipe", error, "change the recipe") for error in errors]
    parallel = config.parallel
    sizes = f"dp {parallel.dp} × mp {parallel.mp} × pp {parallel.pp} = {parallel.num_devices} devices"
    return findings or [ok("recipe", f"{recipe_hash(config)}, {sizes}")]
