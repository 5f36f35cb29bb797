"""Reading recipes: what a file, a preset and overrides make together, and what a mistake is answered with."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pangu_alpha.config import RECIPES, RunConfig, build_config, list_recipes, load_config, override
from pangu_alpha.errors import ConfigError


@pytest.fixture
def values() -> dict[str, Any]:
    """The least that a run needs."""
    return minimal()


def minimal() -> dict[str, Any]:
    return {
        "device": "cpu",
        "model": {"preset": "tiny"},
        "train": {"steps": 10, "batch_size": 8},
        "schedule": {"learning_rate": 1e-3, "end_learning_rate": 1e-4, "warmup_steps": 2, "decay_steps": 10},
    }


def message(values: dict[str, Any], *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        build_config(values, overrides)
    text = str(caught.value)
    for foreign in ("pydantic", "Traceback", "errors.pydantic", "validation error", "For further information"):
        assert foreign not in text
    return text


SHIPPED = [
    *("13b", "200b_1024", "200b_2048", "200b_2048_fast", "200b_2048_fast_1536", "2b6", "350m"),
    *("quickstart", "tiny_cpu"),
]


class TestRecipes:
    def test_all_are_listed(self) -> None:
        assert list_recipes() == SHIPPED

    @pytest.mark.parametrize("name", SHIPPED)
    def test_loads_by_name_and_by_path(self, name: str) -> None:
        config = load_config(name)
        assert config == load_config(RECIPES / f"{name}.yaml") == load_config(str(RECIPES / f"{name}.yaml"))

    @pytest.mark.parametrize("name", SHIPPED)
    def test_survives_being_written_and_read(self, name: str, tmp_path: Path) -> None:
        """`pangu config show --yaml` prints a recipe."""
        config = load_config(name)
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(config.model_dump(mode="json"), allow_unicode=True), encoding="utf-8")
        assert load_config(path) == config

    @pytest.mark.parametrize(
        ("name", "beta2", "learning_rate", "decay", "devices"),
        [
            ("2b6", 0.999, 1e-4, 0.01, 512),
            ("13b", 0.98, 5e-5, 0.01, 1024),
            ("200b_2048", 0.95, 2e-5, 0.1, 2048),
            ("200b_2048_fast", 0.95, 2e-5, 0.1, 2048),
            ("200b_2048_fast_1536", 0.95, 2e-5, 0.1, 2048),
            ("200b_1024", 0.95, 2e-5, 0.1, 1024),
        ],
    )
    def test_table_5(self, name: str, beta2: float, learning_rate: float, decay: float, devices: int) -> None:
        config = load_config(name)
        assert (config.optimizer.beta1, config.optimizer.beta2) == (0.9, beta2)
        assert config.schedule.learning_rate == learning_rate
        assert config.optimizer.weight_decay == decay
        assert config.parallel.num_devices == devices

    def test_unknown_name_is_answered_with_the_nearest(self) -> None:
        with pytest.raises(ConfigError, match=r"no recipe '200b_2408': did you mean '200b_2048'\?"):
            load_config("200b_2408")

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("train: {steps: 5", "cannot be read as YAML"),
            ("- train\n- model\n", "holds list"),
            ("", "holds NoneType"),
            ("子曰：學而時習之", "holds str"),
            ("train: {steps: 600}\ntrain: {steps: 5}", "'train' is there twice, in line 1 and in line 2"),
            ("train: {steps: 010}", "line 1: 010 is another number"),
            ("train: {steps: !!int abc}", "the tag !!int is not used here"),
            ("1: 2", "Known|keys|1"),
        ],
    )
    def test_a_file_that_holds_no_settings(self, tmp_path: Path, content: str, said: str) -> None:
        path = tmp_path / "壞的.yaml"
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ConfigError, match=said) as caught:
            load_config(path)
        assert str(path) in str(caught.value)

    def test_a_file_in_another_encoding(self, tmp_path: Path) -> None:
        path = tmp_path / "gbk.yaml"
        path.write_bytes("output: 盘古".encode("gbk"))
        with pytest.raises(ConfigError, match="cannot be read as YAML"):
            load_config(path)


class TestPreset:
    def test_own_values_win(self, values: dict[str, Any]) -> None:
        values["model"] = {"preset": "tiny", "num_layers": 7}
        model = build_config(values).model
        assert (model.num_layers, model.hidden_size) == (7, 256)

    def test_overrides_win_over_both(self, values: dict[str, Any]) -> None:
        values["model"] = {"preset": "2b6", "num_layers": 7}
        model = build_config(values, ["model.num_layers=3", "model.preset=tiny"]).model
        assert (model.num_layers, model.hidden_size) == (3, 256)

    @pytest.mark.parametrize("preset", ["2b", "2B6", 26, None, [], {"tiny": 1}])
    def test_unknown(self, values: dict[str, Any], preset: Any) -> None:
        values["model"] = {"preset": preset}
        text = message(values)
        assert "model.preset" in text and "13b, 200b, 2b6, 350m, tiny" in text


class TestOverrides:
    def test_replace_and_add(self, values: dict[str, Any]) -> None:
        overrides = [
            "train.steps=99",
            "train.seed=7",
            "schedule.decay_steps=1e3",
            "optimizer.kind=adamw",
            "output=runs/盘古",
        ]
        config = build_config(values, overrides)
        assert (config.train.steps, config.train.seed, config.schedule.decay_steps) == (99, 7, 1000)
        assert config.optimizer.kind == "adamw" and config.output == Path("runs/盘古")

    def test_the_last_one_wins(self, values: dict[str, Any]) -> None:
        assert build_config(values, ["train.steps=5", "train.steps=6"]).train.steps == 6

    def test_scientific_notation_without_a_dot_is_a_number(self, values: dict[str, Any]) -> None:
        assert build_config(values, ["schedule.learning_rate=2e-3"]).schedule.learning_rate == 0.002

    def test_lists_and_null(self, values: dict[str, Any]) -> None:
        config = build_config(values, ["data.train=[{path: a}, {path: b, weight: 2}]", "data.mix=null"])
        assert [(str(source.path), source.weight) for source in config.data.train] == [("a", 1.0), ("b", 2.0)]
        assert config.data.mix is None

    @pytest.mark.parametrize("override", ["train.steps", "=5", "train.steps 5", ""])
    def test_without_key_or_value(self, values: dict[str, Any], override: str) -> None:
        assert "is not of the form section.key=value" in message(values, override)

    def test_below_a_value(self, values: dict[str, Any]) -> None:
        assert "'steps' is a value, not a section" in message(values, "train.steps.more=5")

    def test_invalid_yaml(self, values: dict[str, Any]) -> None:
        assert "not valid YAML" in message(values, "data.train=[{path: a}")

    @pytest.mark.parametrize(
        ("override", "said"),
        [
            ("train.steps=010", "010 is another number in YAML than it looks"),
            (f"train.steps={'5' * 5000}", "has 5,000 digits"),
            (f"train.steps={'x' * 5000}", "… (5,002 characters)"),
            ("train.steps=!!int abc", "the tag !!int"),
            ("data={train: [], train: []}", "'train' is there twice"),
            ('output="a\\0b"', "the character 0"),
        ],
    )
    def test_what_yaml_would_take_for_something_else(self, values: dict[str, Any], override: str, said: str) -> None:
        text = message(values, override)
        assert said in text and len(text) < 6000

    @pytest.mark.parametrize("word", ["yes", "no", "on", "off", "true", "false"])
    @pytest.mark.parametrize(
        "key", ["train.steps", "schedule.learning_rate", "schedule.warmup_steps", "parallel.dp", "model.dropout"]
    )
    def test_a_word_for_true_or_false_is_no_number(self, values: dict[str, Any], key: str, word: str) -> None:
        truth = "true" if word in ("yes", "on", "true") else "false"
        assert f"{key}: {truth} (which YAML also writes yes, no, on and off) is no value of it" in message(
            values, f"{key}={word}"
        )

    def test_it_is_none_in_a_source_or_a_range_either(self, values: dict[str, Any]) -> None:
        assert "data.train.0.weight: true (which" in message(values, "data.train=[{path: x, weight: yes}]")
        assert "data.skip_samples: false (which" in message(values, "data.skip_samples=[[no, yes]]")
        assert build_config(values, ["fuse_operators=no"]).fuse_operators is False

    def test_a_date_is_a_name(self, values: dict[str, Any]) -> None:
        assert build_config(values, ["output=2024-13-45"]).output == Path("2024-13-45")


class TestMistakes:
    @pytest.mark.parametrize(
        ("override", "where", "near"),
        [
            ("train.stesp=5", "train.stesp", "steps"),
            ("train.microbatches=5", "train.microbatches", "num_micro_batches"),
            ("model.hidden=5", "model.hidden", "hidden_size"),
            ("model.presett=2b6", "model.presett", "preset"),
            ("optimiser.beta1=0.5", "optimiser", "optimizer"),
            ("data.train=[{path: a, wieght: 2}]", "data.train.0.wieght", "weight"),
            ("loss_scale.inital=2", "loss_scale.inital", "initial"),
        ],
    )
    def test_unknown_key_is_answered_with_the_nearest(
        self, values: dict[str, Any], override: str, where: str, near: str
    ) -> None:
        assert f"unknown key {where}: did you mean {near!r}? Known: " in message(values, override)

    def test_missing_key(self, values: dict[str, Any]) -> None:
        del values["train"]["batch_size"], values["schedule"]
        text = message(values)
        assert "train.batch_size is missing" in text and "schedule is missing" in text

    @pytest.mark.parametrize(
        "override",
        [
            "train.steps=many",
            "train.steps=1.5",
            "train.steps=0",
            "train.steps=[1]",
            "train.steps=null",
            "train.seed=-1",
            "model.dropout=1",
            "model.dropout=-0.1",
            "model.compute_dtype=float8",
            "model.final_norm=none",
            "device=tpu",
            "schedule.learning_rate=0",
            "schedule.learning_rate=nan",
            "optimizer.beta1=1",
            "parallel.dp=0",
            "data.mix=paper",
            "data.train=here",
            "data.train=[{path: a, weight: 0}]",
            "data.train=[{path: a, weight: .inf}]",
            "train.seed=4294967296",
        ],
    )
    def test_wrong_value_is_named_with_its_place(self, values: dict[str, Any], override: str) -> None:
        text = message(values, override)
        key, _, value = override.partition("=")
        assert key in text
        assert value.strip("[]") in text or value == "null" or "weight" in text

    def test_all_mistakes_are_told_at_once(self, values: dict[str, Any]) -> None:
        text = message(values, "train.steps=x", "train.bath_size=4", "model.num_layers=1")
        assert all(key in text for key in ("train.steps", "train.bath_size", "model.num_layers"))

    @pytest.mark.parametrize(
        ("overrides", "arithmetic"),
        [
            (["model.num_heads=3"], "hidden_size(256) ÷ num_heads(3) is not whole"),
            (["schedule.warmup_steps=10"], "warmup_steps(10) must be below decay_steps(10)"),
            (["schedule.end_learning_rate=0.01"], "end_learning_rate(0.01) is above learning_rate(0.001)"),
            (["parallel.mp=3"], "model.num_heads(4) ÷ parallel.mp(3) is not whole"),
            (["parallel.dp=999999999", "parallel.pp=2"], "= 1,999,999,998 devices, and no job has more than 131,072"),
            (["parallel.dp=3"], "train.batch_size(8) ÷ (parallel.dp(3) × train.num_micro_batches(1)) is not whole"),
            (["parallel.dp=2", "train.num_micro_batches=3"], "a multiple of 6"),
            (["model.compute_dtype=bfloat16"], "no bfloat16 matrix product for the CPU"),
            (["parallel.pp=8"], "pp(8) × num_chunks(1) = 8 > num_layers(4)"),
            (["model.vocab_size=4", "parallel.mp=4"], "model.vocab_size(4) ≤ parallel.mp(4)"),
            (
                ["model.seq_length=5", "parallel.mp=2", "parallel.sequence_parallel=true", "train.batch_size=3"],
                "= 15 rows of a micro-batch ÷ (parallel.dp(1) × parallel.mp(2)) is not whole",
            ),
            (["device=ascend", "parallel.dp=3", "train.batch_size=6"], "× parallel.mp(1) = 3 is none of 1, 2, 4 or"),
            (["model.num_heads=8", "model.hidden_size=96", "parallel.pp=3"], "parallel.pp(3) = 3 is none of 1, 2, 4"),
        ],
    )
    def test_contradictions_show_the_arithmetic(
        self, values: dict[str, Any], overrides: list[str], arithmetic: str
    ) -> None:
        assert arithmetic in message(values, *overrides)

    @pytest.mark.parametrize("section", ["model", "train", "schedule", "data", "optimizer"])
    @pytest.mark.parametrize("value", [None, 3, "子曰", [1]])
    def test_a_value_in_place_of_a_section(self, values: dict[str, Any], section: str, value: Any) -> None:
        values[section] = value
        assert section in message(values)

    def test_keys_that_are_no_words(self, values: dict[str, Any]) -> None:
        assert "1" in message({**values, 1: 2})
        values["train"][True] = 3
        assert "True" in message(values)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = [
    f"{section}.{key}" for section, part in load_config("tiny_cpu") if hasattr(part, "model_dump") for key, _ in part
]


@settings(max_examples=300, deadline=None)
@given(key=st.sampled_from([*KEYS, "device", "output", "tokenizer", "model", "data", "model.preset"]), value=JSON)
def test_whatever_a_setting_holds_it_is_accepted_or_explained(key: str, value: Any) -> None:
    values = minimal()
    *sections, last = key.split(".")
    place = values
    for section in sections:
        place = place.setdefault(section, {})
    place[last] = value
    try:
        assert isinstance(build_config(values), RunConfig)
    except ConfigError as error:
        assert "pydantic" not in str(error)


class TestFrozen:
    def test_no_setting_can_be_changed_in_a_run(self, values: dict[str, Any]) -> None:
        config = build_config(values)
        for owner, name in ((config, "device"), (config.train, "steps"), (config.model, "num_layers")):
            with pytest.raises(ValueError, match="frozen"):
                setattr(owner, name, getattr(owner, name))

    def test_the_given_values_stay_as_they_are(self, values: dict[str, Any]) -> None:
        before = copy.deepcopy(values)
        build_config(values, ["train.steps=99", "data.mix=null"])
        assert values == before


@pytest.mark.parametrize("name", ["a b", "a #1, of two", "[x]", "yes", "é: {", "1_000", "a'b\"c"])
def test_any_path_can_be_an_override(name: str) -> None:
    assert load_config("tiny_cpu", [override("output", Path(name))]).output == Path(name)
