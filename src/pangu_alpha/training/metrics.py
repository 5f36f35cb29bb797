"""What a run reports about each step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepMetrics:
    """One optimizer step. The names are the keys of metrics.jsonl."""

    step: int
    """Steps done, this one included."""
    loss: float
    """Mean over the counted tokens of the global batch, in nats."""
    learning_rate: float
    grad_norm: float
    """Global norm before clipping."""
    num_tokens: int
    """Counted tokens of the step."""
    first_sample: int
    """Number of the step's first sample."""
    consumed_samples: int
    """Samples used or left out since the start of the run, this step included: one more than the step's last sample."""
    seconds: float
    """Wall time of the step, reading the batch included."""
    tokens_per_second: float
    model_flops_per_second: float
    """Floating-point operations of the network's matrix products, without recomputation, over all devices."""
    matmul_share: float
    """`model_flops_per_second` ÷ (devices × the rate of a large matrix product measured at the start)."""
    loss_scale: float
    """1 unless the compute type is float16."""
    skipped: bool
    """Whether the step changed nothing: a float16 gradient overflowed, or it was a spike and `spikes.skip` is on."""
    spike: bool
    """Whether loss or gradient norm was far above the last ones."""
