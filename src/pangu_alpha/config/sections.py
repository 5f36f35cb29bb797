"""The sections of a recipe, each a frozen and typed model of its settings.

Units are in the attribute docstrings. Counts begin with `num_`. An unknown key is refused (see `load.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

DeviceKind = Literal["cpu", "ascend", "gpu"]
MAX_DEVICES = 131_072
"""Of a job; what is computed for each of them must come to an end."""
ComputeDtype = Literal["float32", "float16", "bfloat16"]
Rematerialisation = Literal["none", "selective", "whole"]


class Settings(BaseModel):
    """Base of all settings: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_word_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        """YAML reads yes, no, on and off as true and false, which would count as 1 and 0."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        if bool not in (annotation, *get_args(annotation)) and (found := _first_bool(value)) is not None:
            raise ValueError(f"{str(found).lower()} (which YAML also writes yes, no, on and off) is no value of it")
        return value


def _first_bool(value: object) -> bool | None:
    """`value` if it is true or false, or the first that is in a list of it; sections in it look for themselves."""
    if isinstance(value, list | tuple):
        return next((found for item in value if (found := _first_bool(item)) is not None), None)
    return value if isinstance(value, bool) else None


class ModelConfig(Settings):
    """The network of paper §2.2 and Table 1."""

    num_layers: int = Field(ge=2, le=4096)
    """Transformer layers, the query layer included (2.6B: 31 + 1)."""
    hidden_size: int = Field(ge=1, le=1 << 20)
    """Width d of the hidden state; the feed-forward layer is 4·d wide."""
    num_heads: int = Field(ge=1, le=1 << 20)
    """Attention heads; must divide `hidden_size`."""
    vocab_size: int = Field(ge=2, le=1 << 24)
    """Rows of the word table, which is also the output head."""
    seq_length: int = Field(ge=2, le=1 << 24)
    """Positions the network can attend to, and tokens in a training sample."""
    final_norm: Literal["before_query_layer", "after_query_layer"]
    """Where the last LayerNorm sits: before the query layer in the released 2.6B and 13B, after it in the 200B."""
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Probability of dropping an element of the embedding, the attention weights and both outputs of a layer."""
    gelu: Literal["tanh", "erf"] = "tanh"
    """GeLU in its tanh form, as in the released network, or with the error function, as in its copies for Hugging Face.
    Weights are made for one of them."""
    compute_dtype: ComputeDtype = "float16"
    """Type of matrix products and activations. Parameters, LayerNorm, softmax and loss are always float32."""

    @model_validator(mode="after")
    def _heads_divide_hidden(self) -> ModelConfig:
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size({self.hidden_size}) ÷ num_heads({self.num_heads}) is not whole: "
                "choose num_heads that divides it"
            )
        return self

    @property
    def feed_forward_size(self) -> int:
        """Inner width of the feed-forward layer."""
        return 4 * self.hidden_size

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_heads


class SourceConfig(Settings):
    """One packed token file of a blend."""

    path: Path
    """Path of the token file without its `.bin`/`.idx` ending."""
    name: str | None = None
    """The name by which `data.mix` finds the weight of this source."""
    weight: float = Field(default=1.0, gt=0.0)
    """Share of the samples that come from this source, relative to the other weights. Ignored under `data.mix`."""


class DataConfig(Settings):
    """What is read. Paths are relative to the working directory."""

    train: tuple[SourceConfig, ...] = ()
    """Training sources. `pangu train` needs at least one."""
    validation: tuple[SourceConfig, ...] = ()
    """Held-out sources, read in order and completely. Empty: no validation."""
    mix: Literal["paper_200b", "paper_2b6_13b"] | None = None
    """Take the weights from this column of the paper's Table 4 instead of the sources' own."""
    skip_samples: tuple[tuple[int, int], ...] = ()
    """Samples that are left out: first and last number of each range, as spikes.jsonl names them."""

    @field_validator("skip_samples")
    @classmethod
    def _are_ranges(cls, ranges: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        for first, last in ranges:
            if not 0 <= first <= last:
                raise ValueError(f"[{first}, {last}] is no range of samples: write [first, last], both from 0 on")
        return ranges


class TasksConfig(Settings):
    """Tasks of `pangu evaluate tasks` that are measured during the training."""

    names: tuple[str, ...] = ()
    """The tasks, or groups of them. Empty: none is measured."""
    data: Path | None = None
    """Holds a folder or zip for each data set; on rank 0's host."""
    every: int = Field(default=1000, ge=1)
    """Steps between measurements; there is one after the last step."""
    shots: tuple[Literal["0", "1", "few"], ...] = Field(default=("0",), min_length=1)
    """Numbers of worked examples."""
    limit: int | None = Field(default=200, ge=1)
    """Items of each task, the same ones every time. `null`: all."""

    @field_validator("shots", mode="before")
    @classmethod
    def _are_words(cls, shots: object) -> object:
        return [str(one) for one in shots] if isinstance(shots, (list, tuple)) else shots

    @model_validator(mode="after")
    def _have_data(self) -> TasksConfig:
        if self.names and self.data is None:
            raise ValueError("tasks.names without tasks.data: set it to the folder that holds their data sets")
        return self


class OptimizerConfig(Settings):
    """AdamW and gradient clipping (paper Table 5)."""

    kind: Literal["adam_weight_decay", "adamw"] = "adam_weight_decay"
    """`adam_weight_decay`: the published form, without bias correction. `adamw`: Loshchilov and Hutter's, with it."""
    beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    """Decay of the gradient's running mean."""
    beta2: float = Field(default=0.95, ge=0.0, lt=1.0)
    """Decay of the squared gradient's running mean."""
    eps: float = Field(default=1e-8, gt=0.0)
    """Added to the square root of the second moment."""
    weight_decay: float = Field(default=0.1, ge=0.0)
    """Decoupled decay of every parameter but LayerNorms and biases."""
    clip_norm: float = Field(default=1.0, gt=0.0)
    """Gradients whose global L2 norm is larger are scaled down to it."""


class ScheduleConfig(Settings):
    """Linear warm-up, then a cosine from the peak to the end."""

    learning_rate: float = Field(gt=0.0)
    """The peak, reached at the end of the warm-up."""
    end_learning_rate: float = Field(ge=0.0)
    """The value at `decay_steps` and after."""
    warmup_steps: int = Field(default=2000, ge=0)
    """Updates of the linear rise from 0. Steps skipped in float16 are no updates."""
    decay_steps: int = Field(ge=1)
    """The update, counted from the start, at which the cosine ends."""

    @model_validator(mode="after")
    def _order(self) -> ScheduleConfig:
        if self.warmup_steps >= self.decay_steps:
            raise ValueError(f"warmup_steps({self.warmup_steps}) must be below decay_steps({self.decay_steps})")
        if self.end_learning_rate > self.learning_rate:
            raise ValueError(
                f"end_learning_rate({self.end_learning_rate}) is above learning_rate({self.learning_rate})"
            )
        return self


class LossScaleConfig(Settings):
    """Dynamic loss scale; used when `model.compute_dtype` is float16."""

    initial: float = Field(default=float(2**32), ge=1.0)
    """Scale of the first step."""
    factor: float = Field(default=2.0, gt=1.0)
    """The scale is divided by this after an overflow and multiplied by it after `window` good steps."""
    window: int = Field(default=1000, ge=1)
    """Good steps in a row before the scale grows."""
    max_overflows: int = Field(default=20, ge=1)
    """Overflows in a row at the smallest scale, 1, that end the run: no scale will help."""


class SpikeConfig(Settings):
    """Steps whose loss or gradient norm rises suddenly. They are always reported."""

    skip: bool = False
    """Whether such a step changes nothing, on all ranks alike."""
    window: int = Field(default=128, ge=2)
    """Steps that a value is compared with; none is a spike before."""
    sigmas: float = Field(default=6.0, gt=0.0)
    """Standard deviations above their mean that make a spike."""
    max_skips: int = Field(default=8, ge=1)
    """Steps in a row that are skipped as spikes and end the run: it has left its course."""


class ParallelConfig(Settings):
    """The five dimensions of parallelism (paper §3.2). The product of the mesh axes is the number of devices."""

    dp: int = Field(default=1, ge=1)
    """Data-parallel replicas."""
    mp: int = Field(default=1, ge=1)
    """Operator-level (tensor) parallel slices."""
    pp: int = Field(default=1, ge=1)
    """Pipeline stages."""
    sequence_parallel: bool = False
    """Between the matrix products, split the rows over mp too, instead of computing them mp times."""
    optimizer_sharding: bool = False
    """Split parameters and Adam moments over the data-parallel replicas; gather the weights before they are used."""
    rematerialisation: Rematerialisation = "none"
    """What the backward pass computes again instead of keeping it: nothing, attention scores and elementwise results,
    or whole layers."""
    rematerialised_stages: int | None = Field(default=None, ge=1)
    """Only the first stages, so many, do what `rematerialisation` says: those behind them hold fewer micro-batches at a
    time, and keep everything. `null`: all stages."""
    schedule: Literal["1f1b", "interleaved"] = "1f1b"
    """Order of the micro-batches on the stages. `interleaved` has a smaller bubble and sends more."""
    num_chunks: int = Field(default=1, ge=1)
    """Separate runs of layers a stage holds under the interleaved schedule."""

    @property
    def num_devices(self) -> int:
        """Processes of the job, one a device."""
        return self.dp * self.mp * self.pp

    def rematerialisation_of(self, stage: int) -> Rematerialisation:
        """What the backward pass of a stage computes again."""
        is_behind = self.rematerialised_stages is not None and stage >= self.rematerialised_stages
        return "none" if is_behind else self.rematerialisation

    @model_validator(mode="after")
    def _devices_can_be_counted(self) -> ParallelConfig:
        if self.num_devices > MAX_DEVICES:
            raise ValueError(
                f"dp({self.dp}) × mp({self.mp}) × pp({self.pp}) = {self.num_devices:,} devices, and no job has more "
                f"than {MAX_DEVICES:,}: correct them"
            )
        return self

    @model_validator(mode="after")
    def _chunks_are_interleaved(self) -> ParallelConfig:
        if (self.schedule == "interleaved") != (self.num_chunks > 1):
            raise ValueError(
                f"schedule={self.schedule} with num_chunks({self.num_chunks}): the interleaved schedule needs "
                "num_chunks of 2 or more, and 1f1b has one"
            )
        if self.schedule == "interleaved" and self.pp == 1:
            raise ValueError("schedule=interleaved with pp(1): there is nothing to interleave; set schedule=1f1b")
        if self.sequence_parallel and self.mp == 1:
            raise ValueError("sequence_parallel with mp(1): there is nothing to split; set sequence_parallel=false")
        return self

    @model_validator(mode="after")
    def _stages_rematerialise(self) -> ParallelConfig:
        if self.rematerialised_stages is None:
            return self
        if self.rematerialisation == "none":
            raise ValueError(
                f"rematerialised_stages({self.rematerialised_stages}) with rematerialisation=none: there is nothing "
                "that they could make again; leave it out, or set rematerialisation"
            )
        if self.rematerialised_stages >= self.pp:
            raise ValueError(
                f"rematerialised_stages({self.rematerialised_stages}) ≥ pp({self.pp}): it names some of the stages; "
                "leave it out for all"
            )
        return self


class TrainConfig(Settings):
    """The loop."""

    steps: int = Field(ge=1, le=1 << 40)
    """Optimizer steps of the whole run."""
    batch_size: int = Field(ge=1, le=1 << 20)
    """Samples of one step over all devices and micro-batches."""
    num_micro_batches: int = Field(default=1, ge=1, le=65_536)
    """Parts a step's batch is computed in; gradients are summed before the update."""
    seed: int = Field(default=1, ge=0, lt=2**32)
    """Seed of weights, data order and dropout."""
    log_every: int = Field(default=10, ge=1)
    """Steps between printed lines; every step is in metrics.jsonl."""
    validate_every: int = Field(default=1000, ge=1)
    """Steps between passes over the validation data."""
    checkpoint_every: int = Field(default=1000, ge=1)
    """Steps between checkpoints; the last step always has one."""
    checkpoint_minutes: float | None = Field(default=None, gt=0)
    """Minutes after which there is a checkpoint, however few steps were made. `null`: steps alone decide."""
    background_saving: bool = True
    """Whether the training goes on while a checkpoint is written: each process then has a copy of what it writes."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """Newest checkpoints that are kept, beside those of `keep_every`, and one whose loss is not known yet."""
    keep_every: int | None = Field(default=None, ge=1)
    """Checkpoints whose step this divides are never removed. `null`: none is."""
