import itertools

import pytest

from pangu_alpha.config import ModelConfig, ParallelConfig, head_flops_per_token, layer_flops_per_token, load_config
from pangu_alpha.errors import ConfigError
from pangu_alpha.topology.stages import place_layers


def model(num_layers: int, vocab_size: int = 512) -> ModelConfig:
    return ModelConfig(
        num_layers=num_layers,
        hidden_size=64,
        num_heads=4,
        vocab_size=vocab_size,
        seq_length=32,
        final_norm="after_query_layer",
    )


def test_200b_has_four_layers_on_each_of_its_sixteen_stages() -> None:
    config = load_config("200b_2048", [])
    stages = [place.stage for place in place_layers(config.model, config.parallel)]
    assert stages == [stage for stage in range(16) for _ in range(4)]


@pytest.mark.parametrize(("num_layers", "pp", "vocab_size"), [(7, 3, 512), (9, 4, 4096), (6, 2, 20000), (5, 5, 64)])
def test_the_dearest_stage_is_as_cheap_as_it_can_be(num_layers: int, pp: int, vocab_size: int) -> None:
    config = model(num_layers, vocab_size)
    places = place_layers(config, ParallelConfig(pp=pp))
    sizes = [sum(place.stage == stage for place in places) for stage in range(pp)]

    def dearest(lengths: tuple[int, ...]) -> float:
        costs = [length * layer_flops_per_token(config) for length in lengths]
        costs[-1] += head_flops_per_token(config)
        return max(costs)

    candidates = [c for c in itertools.product(range(1, num_layers + 1), repeat=pp) if sum(c) == num_layers]
    assert dearest(tuple(sizes)) == min(dearest(c) for c in candidates)


def test_interleaved_runs_go_round_the_stages() -> None:
    places = place_layers(model(8), ParallelConfig(pp=2, schedule="interleaved", num_chunks=2))
    assert [(p.stage, p.chunk) for p in places] == [(0, 0)] * 2 + [(1, 0)] * 2 + [(0, 1)] * 2 + [(1, 1)] * 2


def test_more_runs_than_layers_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"pp\(4\) × num_chunks\(2\) = 8 > num_layers\(6\)"):
        place_layers(model(6), ParallelConfig(pp=4, schedule="interleaved", num_chunks=2))
