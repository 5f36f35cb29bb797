import itertools

import pytest

from pangu_alpha.config import ModelConfig, ParallelConfig, head_flops_per_token, layer_flops_per_token, load_config
from pangu_alpha.errors import ConfigError
from pangu_alpha.topology.stages import LayerPlace, place_layers


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


def lengths(network: ModelConfig, parallel: ParallelConfig) -> list[int]:
    """Layers of each stage."""
    stages = [place.stage for place in place_layers(network, parallel)]
    return [stages.count(stage) for stage in range(parallel.pp)]


def test_stages_that_make_their_layers_again_have_fewer() -> None:
    some = ParallelConfig(pp=4, rematerialisation="whole", rematerialised_stages=2)
    assert lengths(model(28, vocab_size=8), some) == [6, 6, 8, 8]  # 4 passes of a layer against 3
    for other in (ParallelConfig(pp=4), ParallelConfig(pp=4, rematerialisation="whole")):
        assert lengths(model(28, vocab_size=8), other) == [7, 7, 7, 7]
    cheap = ParallelConfig(pp=4, rematerialisation="selective", rematerialised_stages=2)
    assert lengths(model(28, vocab_size=8), cheap) == [7, 7, 7, 7]


@pytest.mark.parametrize("num_layers", [8, 13, 24, 32])
@pytest.mark.parametrize("vocab_size", [8, 3000])
def test_stages_that_keep_everything_never_have_fewer_layers_for_it(num_layers: int, vocab_size: int) -> None:
    """`pangu plan` leaves layouts out because of it."""
    network = model(num_layers, vocab_size)
    for pp, num_chunks in ((2, 1), (4, 1), (8, 1), (2, 2), (4, 2), (2, 4)):
        alike = ParallelConfig(pp=pp, schedule="interleaved" if num_chunks > 1 else "1f1b", num_chunks=num_chunks)
        before = place_layers(network, alike)
        for number in range(1, pp):
            update = {"rematerialisation": "whole", "rematerialised_stages": number}
            after = place_layers(network, alike.model_copy(update=update))
            for stage, chunk in itertools.product(range(number, pp), range(num_chunks)):
                run = LayerPlace(stage, chunk)
                assert after.count(run) >= before.count(run), (pp, num_chunks, number, run)
