"""The backend of the training loop whose steps the emulator computes from all ranks' programs."""

from __future__ import annotations

from collections.abc import Callable

import mindspore as ms

from pangu_alpha.compiler.programs import compile_ranks
from pangu_alpha.config import ParallelConfig, RunConfig
from pangu_alpha.data import HeldOut
from pangu_alpha.emulator.processes import Processes
from pangu_alpha.emulator.step import EmulatedStep, load_machine
from pangu_alpha.model import PanguAlpha, build_network, set_parameters
from pangu_alpha.runtime.matmul_rate import matmul_rate
from pangu_alpha.training.backend import Backend, reader
from pangu_alpha.training.replica import ProcessStep
from pangu_alpha.training.validation import LossEvaluator


def emulated_backend(config: RunConfig, processes: Processes) -> Backend:
    """Compile the programs that are not kept from before, and start where one process would start.

    MindSpore's device is the CPU already: there is the network that draws the starting weights and is validated.

    Raises:
        ConfigError: the network or the batch cannot be laid on the mesh.
        CompileError: MindSpore refuses a program.
        EmulatorError: a program holds something unknown.
    """
    every_rank = range(config.parallel.num_devices)
    compiled = processes.of_main(lambda: compile_ranks(config, every_rank))
    mine = (item for item in compiled if item.rank in processes.ranks)
    step = EmulatedStep(config, load_machine(mine, transport=processes.transport))
    alone = _in_one_process(config)
    network = build_network(alone.model, alone.train.seed)
    step.load(reader(ProcessStep(network, alone).tensors()))
    return Backend(
        step=step,
        workers=processes,
        is_main=processes.is_main,
        mean_loss=_validation(step, network, processes),
        matmul_flops=processes.of_main(lambda: matmul_rate("cpu", ms.float32)),
    )


def _in_one_process(config: RunConfig) -> RunConfig:
    """`config` for the CPU, for which MindSpore has no bfloat16 matrix product."""
    dtype = "float32" if config.model.compute_dtype == "bfloat16" else config.model.compute_dtype
    model = config.model.model_copy(update={"compute_dtype": dtype})
    return config.model_copy(update={"model": model, "parallel": ParallelConfig()})


def _validation(step: EmulatedStep, network: PanguAlpha, processes: Processes) -> Callable[[HeldOut], float]:
    evaluator = LossEvaluator(network)

    def mean_loss(data: HeldOut) -> float:
        parameters = network.trainable_params()
        weights = step.tensors([item.name for item in parameters])
        if processes.is_main:
            set_parameters(parameters, weights)
        return processes.of_main(lambda: evaluator.mean_loss(data))

    return mean_loss
