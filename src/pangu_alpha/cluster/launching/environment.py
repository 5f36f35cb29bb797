"""The environment of every process of a job. The launchers and the ModelArts boot file get it here, and only here.

Cards find each other through the scheduler process of MindSpore's dynamic cluster, which is what `msrun` uses too. A
rank table says which card is which rank, and goes no further: where MindSpore itself is given one, in RANK_TABLE_FILE,
it compiles for another backend (its jit level O2) than `pangu compile` plans and `pangu rehearse` runs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pangu_alpha.errors import ClusterError
from pangu_alpha.files import cache_folder
from pangu_alpha.reading import whole_number
from pangu_alpha.training.meeting import VARIABLE as MEETING

if TYPE_CHECKING:  # at run time it would cost every server of a cluster 0.3 s
    from pangu_alpha.config import DeviceKind

CONNECT_TIMEOUT = 6000
"""Seconds that a card waits for the others: the official PanGu-α value, because the 200B model compiles for long."""
CONNECT_TIMEOUT_RANGE = (120, 7200)
"""What CANN accepts for HCCL_CONNECT_TIMEOUT; it takes 120 when nothing is set."""
FORWARDED = ("ASCEND", "GLOG_", "HCCL_", "LD_LIBRARY_PATH", "MS_", "OMP_", "PATH", "PYTHONPATH", "TBE_", "TOOLCHAIN_")
"""Beginnings of the variables that servers reached over ssh get from the launcher: ssh starts no login shell there."""


@dataclass(frozen=True)
class Card:
    """One card of a server, or the process that simulates it."""

    rank: int
    device_id: int
    """Number of the card on its server."""


@dataclass(frozen=True)
class Scheduler:
    """Where MindSpore's scheduler process listens."""

    host: str
    port: int

    @property
    def meeting(self) -> str:
        """Where rank 0 listens for the others, on the same host."""
        return f"{self.host}:{self.port + 1}"


def worker_environment(
    device: DeviceKind, card: Card, num_ranks: int, scheduler: Scheduler, address: str, num_servers: int
) -> dict[str, str]:
    """The variables of a training process that finds its peers through `scheduler`.

    Args:
        device: of the recipe.
        card: this one.
        num_ranks: of the job.
        scheduler: on the server of rank 0.
        address: of its own server, on which it listens.
        num_servers: of the job; where there are several they may share no folder, in which ranks would look for rank 0.

    Raises:
        ClusterError: HCCL_CONNECT_TIMEOUT is set to what CANN refuses.
    """
    return {
        **card_environment(device, card, num_ranks),
        **_cluster(num_ranks, scheduler),
        "MS_ROLE": "MS_WORKER",
        "MS_NODE_ID": str(card.rank),
        "MS_WORKER_IP": address,
        **({MEETING: os.environ.get(MEETING, scheduler.meeting)} if num_servers > 1 else {}),
    }


def card_environment(device: DeviceKind, card: Card, num_ranks: int) -> dict[str, str]:
    """The variables of a training process that say nothing about its peers.

    Raises:
        ClusterError: HCCL_CONNECT_TIMEOUT is set to what CANN refuses.
    """
    return {
        "RANK_ID": str(card.rank),
        "RANK_SIZE": str(num_ranks),
        "DEVICE_ID": str(card.device_id),
        "RANK_TABLE_FILE": "",  # instead of one of the user's, or of the platform
        **_device_environment(device),
    }


def scheduler_environment(num_ranks: int, scheduler: Scheduler) -> dict[str, str]:
    """The variables of the scheduler process itself."""
    return {**_cluster(num_ranks, scheduler), "MS_ROLE": "MS_SCHED", "MS_NODE_ID": "0"}


def forwarded_environment() -> dict[str, str]:
    """This process's variables that its servers need."""
    return {name: value for name, value in os.environ.items() if name.startswith(FORWARDED)}


def cores_of(index: int, num_cards: int) -> frozenset[int] | None:
    """The cores of the `index`-th of the `num_cards` processes on this machine; None when it has fewer cores."""
    cores = sorted(os.sched_getaffinity(0))
    if num_cards < 2 or len(cores) < num_cards:
        return None
    return frozenset(cores[index * len(cores) // num_cards : (index + 1) * len(cores) // num_cards])


def num_threads(num_cards: int) -> int:
    """OpenMP threads of each of `num_cards` processes on this machine."""
    return max(1, len(os.sched_getaffinity(0)) // num_cards)


def _cluster(num_ranks: int, scheduler: Scheduler) -> dict[str, str]:
    return {
        "MS_SCHED_HOST": scheduler.host,
        "MS_SCHED_PORT": str(scheduler.port),
        "MS_WORKER_NUM": str(num_ranks),
    }


def _device_environment(device: DeviceKind) -> dict[str, str]:
    """HCCL's waiting time and the compilers' caches; a time that the user has set stays.

    Operators that CANN has compiled are kept and shared by the cards of a server. MindSpore's own cache, of whole
    graphs, stays off: it tells graphs apart by the order in which a process compiles them, and not by the settings they
    were made with. Measured on a CPU with MindSpore 2.10: a recipe with another number of layers, and a program that
    compiles two graphs in the other order, get the graph of before and its numbers, without an error.
    """
    environment = {"MS_COMPILER_CACHE_ENABLE": "0"}
    if device != "ascend":
        return environment
    low, high = CONNECT_TIMEOUT_RANGE
    timeout = os.environ.get("HCCL_CONNECT_TIMEOUT", str(CONNECT_TIMEOUT))
    if not low <= (whole_number(timeout) or 0) <= high:
        raise ClusterError(
            f"HCCL_CONNECT_TIMEOUT={timeout}: CANN accepts {low} to {high} seconds. Unset it to get {CONNECT_TIMEOUT}"
        )
    cache = cache_folder() / "ascend"
    return {
        **environment,
        "HCCL_CONNECT_TIMEOUT": timeout,
        "ASCEND_CACHE_PATH": os.environ.get("ASCEND_CACHE_PATH", str(cache)),
    }
