"""What decides, from the recipe and the number of processes alone, whether a job can be trained.

`pangu train`, `pangu doctor`, the launchers with their --dry-run and the boot file of ModelArts all ask here, before
they open data or start a process. It imports no MindSpore.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from pangu_alpha.config import RunConfig
from pangu_alpha.data import check_training_sources
from pangu_alpha.errors import ConfigError
from pangu_alpha.reading import number_in
from pangu_alpha.topology.schedule import pipeline_order
from pangu_alpha.topology.stages import place_layers

BackendName = Literal["mindspore", "emulator"]
"""Who computes: this job's processes on the recipe's device, or one machine that executes all ranks' programs."""


def require_runnable(
    config: RunConfig, backend: BackendName, num_processes: int | None, *, trains: bool = True
) -> None:
    """Refuse a job that cannot be trained.

    Args:
        config: the recipe.
        backend: who is to compute.
        num_processes: that share the work; None: not known, or not the backend's.
        trains: whether it needs data to train on; else it only measures.

    Raises:
        ConfigError: the first of the `refusals`.
    """
    for error in refusals(config, backend, num_processes, trains=trains):
        raise error


def refusals(
    config: RunConfig, backend: BackendName, num_processes: int | None, *, trains: bool = True
) -> Iterator[ConfigError]:
    """All reasons why the job cannot be trained; none means that it can. Arguments as for `require_runnable`."""
    checks: tuple[Callable[[], object], ...] = (
        lambda: _check_axes(config, backend),
        lambda: place_layers(config.model, config.parallel),
        lambda: pipeline_order(config.parallel, config.train.num_micro_batches),
        lambda: _check_processes(config, num_processes),
        lambda: check_training_sources(config.data) if trains else None,
    )
    for check in checks:
        try:
            check()
        except ConfigError as error:
            yield error


def processes_of(environment: Mapping[str, str]) -> int:
    """Processes of the job that this one belongs to, as its launcher says in `environment`; 1 without a launcher.

    Raises:
        ConfigError: the variable is not a number.
    """
    try:
        return number_in(environment, "MS_WORKER_NUM", "RANK_SIZE", default=1)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def default_backend(config: RunConfig, num_processes: int) -> BackendName:
    """Who computes when the user has not said: the recipe's device, where it can."""
    parallel = config.parallel
    is_split = parallel.mp > 1 or parallel.pp > 1
    return "emulator" if is_split and config.device == "cpu" and num_processes == 1 else "mindspore"


def _check_axes(config: RunConfig, backend: BackendName) -> None:
    """MindSpore splits a network over Ascend devices; on others it has no operators for that."""
    parallel = config.parallel
    if backend == "mindspore" and config.device != "ascend" and (parallel.mp > 1 or parallel.pp > 1):
        raise ConfigError(
            f"parallel.mp={parallel.mp} and parallel.pp={parallel.pp}: MindSpore splits a network over Ascend devices, "
            f"and device is {config.device}. Use `pangu train` in one process, or mpirun with "
            f"{parallel.num_devices}, where the emulator executes all ranks on a CPU (--backend emulator)"
        )


def _check_processes(config: RunConfig, num_processes: int | None) -> None:
    num_devices = config.parallel.num_devices
    if num_processes not in (None, num_devices):
        raise ConfigError(
            f"parallel.dp × parallel.mp × parallel.pp = {num_devices}, but this job has {num_processes} process(es): "
            f"start it with `pangu launch msrun --workers {num_devices}`, or set parallel.dp={num_processes}"
        )
