"""Settings: frozen models, presets, YAML loading with overrides, and the arithmetic of a recipe."""

from pangu_alpha.config.arithmetic import (
    forward_flops_per_token,
    head_flops_per_token,
    layer_flops_per_token,
    model_flops_per_token,
    perplexity,
    tokens_per_step,
)
from pangu_alpha.config.limits import groups_problem, layers_problem
from pangu_alpha.config.load import RECIPES, build_config, list_recipes, load_config, override
from pangu_alpha.config.presets import DATA_MIXES, MODEL_PRESETS
from pangu_alpha.config.schema import RunConfig
from pangu_alpha.config.sections import (
    DataConfig,
    DeviceKind,
    LossScaleConfig,
    ModelConfig,
    OptimizerConfig,
    ParallelConfig,
    ScheduleConfig,
    SourceConfig,
    SpikeConfig,
    TasksConfig,
    TrainConfig,
)

__all__ = [
    "DATA_MIXES",
    "MODEL_PRESETS",
    "RECIPES",
    "DataConfig",
    "DeviceKind",
    "LossScaleConfig",
    "ModelConfig",
    "OptimizerConfig",
    "ParallelConfig",
    "RunConfig",
    "ScheduleConfig",
    "SourceConfig",
    "SpikeConfig",
    "TasksConfig",
    "TrainConfig",
    "build_config",
    "forward_flops_per_token",
    "groups_problem",
    "head_flops_per_token",
    "layer_flops_per_token",
    "layers_problem",
    "list_recipes",
    "load_config",
    "model_flops_per_token",
    "override",
    "perplexity",
    "tokens_per_step",
]
