"""The planner's account against the compiler's own programs: operations, bytes on the links, memory."""

from collections import Counter
from typing import Any

import pytest

from pangu_alpha.compiler.programs import compile_ranks, stage_ranks
from pangu_alpha.config import RunConfig
from pangu_alpha.planner.communication import all_messages
from pangu_alpha.planner.memory import stage_states
from pangu_alpha.planner.once import last_round
from pangu_alpha.planner.operators import step_flops
from pangu_alpha.planner.peak import stage_peaks
from pangu_alpha.program.graph import CALL, read_program
from pangu_alpha.program.operations import product_flops
from pangu_alpha.program.traffic import collectives
from pangu_alpha.topology.mesh import Mesh
from pangu_alpha.verification.cases import Case, quick_cases


@pytest.mark.parametrize(
    "case", [case for case in quick_cases() if case.parallel.pp > 1 or case.parallel.num_devices == 1], ids=str
)
def test_operations_and_bytes_are_those_of_the_programs(case: Case) -> None:
    config = case.config("float16")
    mesh, states = Mesh.of(config.parallel), stage_states(config)
    flops = step_flops(config, states)
    for one in compile_ranks(config, stage_ranks(mesh)):
        stage, program = mesh.place(one.rank).stage, read_program(one.program)
        assert product_flops(program) == flops[stage]
        found: Counter[Any] = Counter()
        for item in collectives(program, mesh, one.rank):
            found[item.phase, item.kind, item.axes, "bytes"] += item.count * item.num_bytes
            found[item.phase, item.kind, item.axes, "count"] += item.count
        planned: Counter[Any] = Counter()
        for message in all_messages(config, states[stage], stage):
            planned[message.phase, message.kind, message.axes, "bytes"] += message.num_bytes
            planned[message.phase, message.kind, message.axes, "count"] += message.count
        assert +found == +planned


@pytest.mark.parametrize("case", [case for case in quick_cases() if case.parallel.pp > 1], ids=str)
def test_sums_of_gradients_wait_for_the_passes_of_their_own_run_of_layers_alone(case: Case) -> None:
    """What `late_sums` rests on: no later backward passes are needed, those of the runs of layers before."""
    config = case.config("float16")
    mesh, num = Mesh.of(config.parallel), config.train.num_micro_batches
    for one in compile_ranks(config, stage_ranks(mesh)):
        program = read_program(one.program)
        names = {item.scope for item in collectives(program, mesh, one.rank) if item.phase == "gradients"}
        graph = max(program.graphs.values(), key=lambda graph: sum(node.scope in names for node in graph.nodes))
        calls = {node.output for node in graph.nodes if node.primitive == CALL}
        needed: dict[str, set[str]] = {}
        for node in graph.nodes:
            inputs = [needed.get(name, set()) | {name} for name in node.inputs]
            needed[node.output] = set().union(*inputs)
        sums = [node for node in graph.nodes if node.scope in names]
        not_needed = {len(calls - needed[node.output]) for node in sums}
        assert not_needed == {chunk * last_round(mesh.pp, num) for chunk in range(config.parallel.num_chunks)}


def test_the_memory_is_that_of_mindspores_own_planner() -> None:
    """Two stages of a network as wide as the 2.6B one, each layer computed again."""
    config = RunConfig.model_validate(
        {
            "model": {
                "num_layers": 4, "hidden_size": 2560, "num_heads": 32, "vocab_size": 40000, "seq_length": 1024,
                "final_norm": "before_query_layer",
            },
            "train": {"steps": 1, "batch_size": 4, "num_micro_batches": 2},
            "schedule": {"learning_rate": 1e-4, "end_learning_rate": 0, "warmup_steps": 0, "decay_steps": 1},
            "parallel": {"mp": 2, "pp": 2, "rematerialisation": "whole"},
        }
    )  # fmt: skip
    ranks = stage_ranks(Mesh.of(config.parallel))
    measured = [one.measured.device_memory for one in compile_ranks(config, ranks, level=1)]
    for peak, found in zip(stage_peaks(config), measured, strict=True):
        assert found is not None
        assert 0.98 <= peak.num_bytes / found <= 1.05
