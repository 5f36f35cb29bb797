"""Derived values, and the rules that all settings follow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import BaseModel, ValidationError

from pangu_alpha.config import MODEL_PRESETS, ModelConfig, ParallelConfig, RunConfig


def settings_models(model: type[BaseModel] = RunConfig) -> Iterator[type[BaseModel]]:
    """`model` and every section in it."""
    yield model
    for field in model.model_fields.values():
        for candidate in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                yield from settings_models(candidate)


def test_every_section_is_frozen_and_knows_its_keys() -> None:
    models = set(settings_models())
    assert len(models) == 11
    for model in models:
        assert model.model_config["frozen"] and model.model_config["extra"] == "forbid", model


def test_every_setting_says_what_it_is() -> None:
    for model in settings_models():
        for name, field in model.model_fields.items():
            is_section = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
            assert field.description or is_section, f"{model.__name__}.{name}"


def test_head_size() -> None:
    assert ModelConfig(**MODEL_PRESETS["2b6"]).head_size == 80
    assert ModelConfig(**MODEL_PRESETS["200b"]).head_size == 128


def test_devices_are_the_product_of_the_axes() -> None:
    assert ParallelConfig(dp=16, mp=8, pp=16).num_devices == 2048
    with pytest.raises(ValidationError):
        ParallelConfig(dp=0)


def test_equal_settings_are_equal_and_hash_alike() -> None:
    one, other = ModelConfig(**MODEL_PRESETS["tiny"]), ModelConfig(**MODEL_PRESETS["tiny"])
    assert one == other and hash(one) == hash(other)
    assert one != ModelConfig(**{**MODEL_PRESETS["tiny"], "num_layers": 5})
