"""A run's recipe: all its sections, and what they may not be together. A YAML file of `configs/` is one `RunConfig`."""

from __future__ import annotations

from pathlib import Path

from pydantic import model_validator

from pangu_alpha.config.limits import groups_problem, layers_problem, rows_problem, vocabulary_problem
from pangu_alpha.config.sections import (
    DataConfig,
    DeviceKind,
    LossScaleConfig,
    ModelConfig,
    OptimizerConfig,
    ParallelConfig,
    ScheduleConfig,
    Settings,
    SpikeConfig,
    TasksConfig,
    TrainConfig,
)


class RunConfig(Settings):
    """A recipe: everything that decides what a run computes."""

    device: DeviceKind = "ascend"
    """Where MindSpore runs."""
    fuse_operators: bool = True
    """On a CPU: join elementwise operators into kernels, compiled at the first start and kept in ~/.cache/pangu_alpha.
    Without effect elsewhere."""
    output: Path = Path("runs/default")
    """Directory of checkpoints, metrics and pictures."""
    tokenizer: Path | None = None
    """Tokenizer directory or `.model` file; generation needs it, training checks the data against it."""
    model: ModelConfig
    data: DataConfig = DataConfig()
    train: TrainConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig
    loss_scale: LossScaleConfig = LossScaleConfig()
    spikes: SpikeConfig = SpikeConfig()
    tasks: TasksConfig = TasksConfig()
    parallel: ParallelConfig = ParallelConfig()

    @model_validator(mode="after")
    def _cpu_has_no_bfloat16(self) -> RunConfig:
        if self.device == "cpu" and self.model.compute_dtype == "bfloat16":
            raise ValueError(
                "device=cpu with model.compute_dtype=bfloat16: MindSpore has no bfloat16 matrix product for the CPU. "
                "Set model.compute_dtype=float32"
            )
        return self

    @model_validator(mode="after")
    def _tasks_have_a_tokenizer(self) -> RunConfig:
        if self.tasks.names and self.tokenizer is None:
            raise ValueError("tasks.names without a tokenizer: set tokenizer, which puts their questions into tokens")
        return self

    @model_validator(mode="after")
    def _slices_divide_heads(self) -> RunConfig:
        if self.model.num_heads % self.parallel.mp:
            raise ValueError(
                f"model.num_heads({self.model.num_heads}) ÷ parallel.mp({self.parallel.mp}) is not whole: a slice "
                "holds whole attention heads; choose parallel.mp that divides num_heads"
            )
        return self

    @model_validator(mode="after")
    def _batch_divides(self) -> RunConfig:
        parts = self.parallel.dp * self.train.num_micro_batches
        if self.train.batch_size % parts:
            raise ValueError(
                f"train.batch_size({self.train.batch_size}) ÷ (parallel.dp({self.parallel.dp}) × "
                f"train.num_micro_batches({self.train.num_micro_batches})) is not whole: "
                f"choose a batch size that is a multiple of {parts}"
            )
        return self

    @model_validator(mode="after")
    def _can_be_laid_out(self) -> RunConfig:
        model, parallel = self.model, self.parallel
        # Processes of a CPU that each have the whole network are not MindSpore's mesh.
        is_mesh = self.device == "ascend" or parallel.mp * parallel.pp > 1
        problems = (
            layers_problem(model, parallel),
            groups_problem(parallel) if is_mesh else None,
            vocabulary_problem(model, parallel),
            rows_problem(model, self.train, parallel),
        )
        found = [problem for problem in problems if problem]
        if found:
            raise ValueError("\n    ".join(found))
        return self
