"""Which settings may differ when a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pangu_alpha.config import RunConfig
from pangu_alpha.config.sections import Settings
from pangu_alpha.errors import CheckpointError
from pangu_alpha.training.resuming import EFFECTS, compare_settings, effect_of


def _names(section: type[Settings], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Settings):
            yield from _names(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_setting_has_an_effect_and_no_entry_is_of_a_setting_that_is_gone() -> None:
    names = list(_names(RunConfig))
    assert len(names) > 40
    for name in names:
        assert effect_of(name) in ("mathematics", "course", "nothing"), name
    sections = {name.partition(".")[0] for name in names}
    assert set(EFFECTS) <= {*names, *sections}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("model.num_heads=4", "model.num_heads is 2 there and 4 in the settings"),
        ("model.final_norm=before_query_layer", "model.final_norm is after_query_layer there and before_query_layer"),
        ("optimizer.kind=adamw", "optimizer.kind is adam_weight_decay there and adamw"),
        ("model.compute_dtype=float16", "model.compute_dtype is float32 there and float16"),
        ("model.vocab_size=41", "model.vocab_size is 40 there and 41"),
    ],
)
def test_another_network_is_refused_by_name(make_config: Callable[..., RunConfig], setting: str, said: str) -> None:
    saved = make_config().model_dump(mode="json")
    with pytest.raises(CheckpointError, match=said):
        compare_settings(saved, make_config(setting), "runs/a/step_1")


def test_what_an_older_checkpoint_does_not_know_of_its_network_was_the_default(
    make_config: Callable[..., RunConfig],
) -> None:
    saved: dict[str, Any] = make_config().model_dump(mode="json")
    del saved["model"]["gelu"]
    assert compare_settings(saved, make_config("model.gelu=tanh"), "it") == []
    with pytest.raises(CheckpointError, match=r"model\.gelu is tanh there and erf in the settings"):
        compare_settings(saved, make_config("model.gelu=erf"), "it")


def test_all_that_differs_is_named_at_once(make_config: Callable[..., RunConfig]) -> None:
    saved = make_config().model_dump(mode="json")
    with pytest.raises(CheckpointError, match=r"model\.num_heads is .*; optimizer\.kind is "):
        compare_settings(saved, make_config("model.num_heads=4", "optimizer.kind=adamw"), "it")


def test_another_course_is_said(make_config: Callable[..., RunConfig]) -> None:
    saved = make_config().model_dump(mode="json")
    course = ("schedule.learning_rate=0.5", "train.steps=9", "train.batch_size=16", "optimizer.beta2=0.9")
    nothing = ("train.log_every=1", "output=elsewhere", "train.num_micro_batches=2", "fuse_operators=false")
    config = make_config("model.dropout=0.2", *course, *nothing)
    assert compare_settings(saved, config, "it") == [
        "model.dropout: 0.0 → 0.2",
        "train.steps: 6 → 9",
        "train.batch_size: 8 → 16",
        "optimizer.beta2: 0.95 → 0.9",
        "schedule.learning_rate: 0.01 → 0.5",
    ]


def test_a_setting_that_the_checkpoint_does_not_know_is_not_compared(
    make_config: Callable[..., RunConfig],
) -> None:
    saved: dict[str, Any] = make_config().model_dump(mode="json")
    del saved["loss_scale"]["max_overflows"], saved["optimizer"]["kind"]
    assert compare_settings(saved, make_config("optimizer.kind=adamw"), "it") == []
