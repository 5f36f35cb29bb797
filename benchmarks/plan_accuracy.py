"""How far the planner's time is from what others have published, row by row.

A chip has one set of efficiencies, fitted to the rows that are marked `fit`; the others are predicted. All 18 rows of
the A100 are: three numbers were chosen for them together. Megatron's networks are described with our Cells: twelve d² a
layer, learned positions, a tied table, dropout 0.1, a final norm.

    python benchmarks/plan_accuracy.py
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import Any, Literal

from pangu_alpha.config import RunConfig, load_config
from pangu_alpha.planner.hardware import Hardware, load_hardware
from pangu_alpha.planner.once import once
from pangu_alpha.planner.step import PassTimes, Priced, StepAccount, account, pass_times, price, price_recipe

Unit = Literal["s a step", "TFLOP/s a device", "tokens/s a device", "MFU %"]
MINDFORMERS = "MindFormers r1.0, model card of PanGu-Alpha"
MEGATRON_2021 = "Narayanan et al. 2021 (arXiv 2104.04473), Table 1; settings: Megatron-LM examples/sc21/run_table_1.sh"
MEGATRON_2022 = "Korthikanti et al. 2022 (arXiv 2205.05198), Tables 3 and 5"
MINDSPEED = "MindSpeed-LLM, README, figure of linearity and MFU; its layout is not published: mp 8, pp 8 is assumed"


@dataclass(frozen=True)
class Row:
    """A published measurement."""

    name: str
    chip: str
    config: RunConfig
    published: float
    unit: Unit
    source: str
    is_fitted: bool = False
    repeats_all: bool = False
    """Whether whole rematerialisation makes all of a layer again, collectives too, as Megatron-LM does; ours keeps the
    results of communication and the products before it."""

    ddp: Literal["torch", "local"] | None = None
    """Megatron-LM's: `torch` sums gradients beside the last micro-batch's way back, `local` after everything."""

    def account(self, hardware: Hardware) -> StepAccount:
        """The planner's account of the row."""
        priced = self._priced(hardware)
        if self.ddp:
            beside = hardware.efficiency.overlap if self.ddp == "torch" else 0.0
            late = [
                seconds.layer_sums + seconds.other_sums - beside * sum(backward)
                for seconds, backward in zip(
                    once(self.config, hardware, priced.states), priced.times.backward, strict=True
                )
            ]
            priced = replace(priced, reductions=max(0.0, *late))
        return account(priced)

    def _priced(self, hardware: Hardware) -> Priced:
        priced = price_recipe(self.config, hardware)
        if not self.repeats_all or self.config.parallel.rematerialisation != "whole":
            return priced
        plain = self.config.parallel.model_copy(update={"rematerialisation": "none"})
        without = pass_times(self.config.model_copy(update={"parallel": plain}), hardware)
        forward, backward = without["layer", "forward"], without["layer", "backward"]
        again = PassTimes(forward.compute + backward.compute, forward.communication + backward.communication)
        passes = [{**own, ("layer", "backward"): again} for own in priced.passes]
        each_once = once(self.config, hardware, priced.states)
        return price(self.config, hardware, priced.states, passes, each_once)

    def predicted(self, found: StepAccount) -> float:
        """What the planner says in the row's unit."""
        config, devices = self.config, self.config.parallel.num_devices
        match self.unit:
            case "s a step":
                return found.seconds
            case "tokens/s a device":
                return found.tokens_per_second / devices
            case "MFU %":
                return 100 * found.model_utilisation
        model, batch = config.model, config.train.batch_size
        layers, hidden, length = model.num_layers, model.hidden_size, model.seq_length
        # The table's own count: with everything computed again, and V ÷ 16Lh for the head.
        once = 1 + length / (6 * hidden) + model.vocab_size / (16 * layers * hidden)
        return 96 * batch * length * layers * hidden**2 * once / found.seconds / devices / 1e12

    def error(self, predicted: float) -> float:
        """By how much the planner's step is too long (or, below 0, too short)."""
        return predicted / self.published - 1 if self.unit == "s a step" else self.published / predicted - 1


def recipe(
    layers: int, hidden: int, heads: int, length: int, vocabulary: int, batch: int, micro: int, **parallel: Any
) -> RunConfig:
    """Settings of a network elsewhere; `micro` is the number of samples of a micro-batch."""
    return RunConfig.model_validate(
        {
            "model": {
                "num_layers": layers,
                "hidden_size": hidden,
                "num_heads": heads,
                "vocab_size": vocabulary,
                "seq_length": length,
                "final_norm": "after_query_layer",
            },
            "train": {"steps": 1, "batch_size": batch, "num_micro_batches": batch // (micro * parallel.get("dp", 1))},
            "schedule": {"learning_rate": 1e-4, "end_learning_rate": 0, "warmup_steps": 0, "decay_steps": 1},
            "parallel": parallel,
        }
    )


def ascend_910a() -> list[Row]:
    settings = ("train.num_micro_batches=1", "parallel.optimizer_sharding=true", "parallel.rematerialisation=whole")
    small = load_config("2b6", ["parallel.dp=8", "parallel.mp=1", "train.batch_size=128", *settings])
    large = load_config("13b", ["parallel.dp=4", "parallel.mp=4", "train.batch_size=32", *settings])
    return [
        Row("PanGu-Alpha 2.6B, 8 devices", "ascend_910a", small, 4075, "tokens/s a device", MINDFORMERS, True),
        Row("PanGu-Alpha 13B, 16 devices", "ascend_910a", large, 575, "tokens/s a device", MINDFORMERS),
    ]


def megatron_2021() -> list[Row]:
    rows = (
        ("1.7B", 24, 2304, 24, 1, 1, 32, 512, 16, 1, 137),
        ("3.6B", 30, 3072, 32, 2, 1, 64, 512, 16, 1, 138),
        ("7.5B", 36, 4096, 32, 4, 1, 128, 512, 16, 1, 142),
        ("18.4B", 40, 6144, 48, 8, 1, 256, 1024, 8, 1, 135),
        ("39.1B", 48, 8192, 64, 8, 2, 512, 1536, 4, 1, 138),
        ("76.1B", 60, 10240, 80, 8, 4, 1024, 1792, 2, 3, 140),
        ("145.6B", 80, 12288, 96, 8, 8, 1536, 2304, 2, 2, 148),
        ("310.1B", 96, 16384, 128, 8, 16, 1920, 2160, 1, 2, 155),
        ("529.6B", 105, 20480, 128, 8, 35, 2520, 2520, 1, 3, 163),
        ("1008B", 128, 25600, 160, 8, 64, 3072, 3072, 1, 1, 163),
    )
    return [
        Row(
            f"Megatron {name}, {devices} devices",
            "a100",
            recipe(
                layers, hidden, heads, 2048, 51200, batch, micro,
                dp=devices // mp // pp, mp=mp, pp=pp, rematerialisation="whole", num_chunks=chunks,
                schedule="interleaved" if chunks > 1 else "1f1b",
            ),
            tflops, "TFLOP/s a device", MEGATRON_2021, True, repeats_all=True, ddp="torch" if pp == 1 else "local",
        )
        for name, layers, hidden, heads, mp, pp, devices, batch, micro, chunks, tflops in rows
    ]  # fmt: skip


def megatron_2022() -> list[Row]:
    rows = (
        ("22B", 48, 6144, 64, 1, 4, 4, 1, 1.42, 1.10),
        ("175B", 96, 12288, 96, 8, 64, 1, 3, 18.13, 13.75),
        ("530B", 105, 20480, 128, 35, 280, 1, 3, 49.05, 37.83),
        ("1T", 128, 25600, 160, 64, 512, 1, 1, 94.42, 71.49),
    )
    found = []
    for name, layers, hidden, heads, pp, batch, micro, chunks, whole, selective in rows:
        for kind, seconds in (("whole", whole), ("selective", selective)):
            config = recipe(
                layers, hidden, heads, 2048, 51200, batch, micro, mp=8, pp=pp, rematerialisation=kind,
                sequence_parallel=kind == "selective", num_chunks=chunks,
                schedule="interleaved" if chunks > 1 else "1f1b",
            )  # fmt: skip
            found.append(
                Row(
                    f"Megatron {name}, {kind}",
                    "a100",
                    config,
                    seconds,
                    "s a step",
                    MEGATRON_2022,
                    True,
                    repeats_all=True,
                )
            )
    return found


def mindspeed() -> list[Row]:
    rows = ((128, 53.8), (256, 53.4), (512, 53.2), (1024, 52.7), (2048, 51.5), (4096, 50.3))
    return [
        Row(
            f"GPT3-175B, {devices} devices",
            "ascend_910b",
            recipe(
                96, 12288, 96, 2048, 50257, 12 * devices, 2, dp=devices // 64, mp=8, pp=8, sequence_parallel=True,
                optimizer_sharding=devices > 64, rematerialisation="selective",
            ),
            percent, "MFU %", MINDSPEED, devices == 128,
        )
        for devices, percent in rows
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    for rows in (ascend_910a(), megatron_2021(), megatron_2022(), mindspeed()):
        print(f"\n{rows[0].source}")
        print(f"  {'row':<30} {'published':>10} {'planner':>10} {'time':>8}  unit")
        errors = []
        for row in rows:
            predicted = row.predicted(row.account(load_hardware(row.chip)))
            error = row.error(predicted)
            errors.append(abs(error))
            note = " (fit)" if row.is_fitted else ""
            print(f"  {row.name:<30} {row.published:>10.4g} {predicted:>10.4g} {error:>+8.1%}  {row.unit}{note}")
        fitted = sum(row.is_fitted for row in rows)
        mean = sum(errors) / len(errors)
        print(f"  {len(errors)} rows, {fitted} of them fitted: mean error {mean:.1%}, worst {max(errors):.1%}")


if __name__ == "__main__":
    main()
