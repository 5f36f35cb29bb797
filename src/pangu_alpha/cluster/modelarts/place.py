"""What a ModelArts job tells each of its cards, and what it keeps in its storage.

The platform starts the boot file once for each card, with the card's place in the environment.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pangu_alpha.cluster.launching.environment import Card
from pangu_alpha.cluster.modelarts.storage import copy_file, join, list_files
from pangu_alpha.cluster.rank_tables.rank_table import RankTable, read_rank_table
from pangu_alpha.errors import ClusterError
from pangu_alpha.reading import read_json, whole_number
from pangu_alpha.run_folder import CHECKPOINTS, HEARTBEATS, LOGS

_POLL = 0.5
"""Seconds between looks at a rank table that is not completed."""
_NUM_FETCHED = 2
"""Newest checkpoints that are fetched: the second in case that the first is damaged."""
_JOB_VARIABLES = ("BATCH_JOB_ID", "JOB_ID", "MA_JOB_ID", "VC_WORKER_HOSTS")
"""What tells a job from others; the hosts of the last one are named after their job."""


@dataclass(frozen=True)
class Assignment:
    """This card, and what the platform says about its job."""

    job_id: str
    card: Card
    rank_table: Path
    table: RankTable

    @property
    def node_ranks(self) -> tuple[int, ...]:
        """The ranks of this node."""
        return tuple(sorted(device.rank_id for device in self.table.by_rank[self.card.rank][0].devices))

    def address_of(self, rank: int) -> str:
        """Of the node that has `rank`."""
        return self.table.by_rank[rank][0].address

    @property
    def is_first(self) -> bool:
        """Whether this is the first card of its node."""
        return self.card.rank == self.node_ranks[0]


def find_place(environment: Mapping[str, str], time_limit: float) -> Assignment:
    """Read the platform's variables, and the rank table as soon as it is completed.

    Args:
        environment: variables by name.
        time_limit: seconds to wait for the rank table.

    Raises:
        ClusterError: a variable is missing or wrong, or the table is not completed in time.
    """
    path = Path(_variable(environment, "RANK_TABLE_FILE"))
    table = _completed_table(path, time_limit)
    device_id = _number(environment, "ASCEND_DEVICE_ID", "DEVICE_ID")
    if table.is_grouped:
        rank = _rank_of_pod(table, _number(environment, "VC_TASK_INDEX"), device_id)
    elif "RANK_ID" in environment:
        rank = _number(environment, "RANK_ID")
    else:
        rank = _number(environment, "VC_TASK_INDEX") * _number(environment, "MA_NUM_GPUS") + device_id
    if rank not in table.by_rank:
        raise ClusterError(
            f"rank {rank} is not in {path}, which has {table.num_devices} devices: RANK_ID, or VC_TASK_INDEX and "
            "MA_NUM_GPUS, are of another job; unset what you have set yourself"
        )
    job_id = re.sub(r"\W+", "_", _variable(environment, *_JOB_VARIABLES))[:100]
    return Assignment(job_id, Card(rank, device_id), path, table)


def _rank_of_pod(table: RankTable, task: int, device_id: int) -> int:
    """The rank of a device of the job's pod number `task`: the platform ends the names of pods with their numbers."""
    pods = {
        device.rank_id: device.extra.get("pod_name", "")
        for server in table.servers
        for device in server.devices
        if device.device_id == device_id
    }
    found = [rank for rank, pod in pods.items() if re.search(rf"\D0*{task}$", pod)]
    if len(found) != 1:
        raise ClusterError(
            f"VC_TASK_INDEX={task} and device {device_id}: {len(found)} pods of the rank table have that number and "
            f"device, not 1 (pods with this device: {', '.join(sorted(pods.values())) or 'none'}); unset what you have "
            "set yourself"
        )
    return found[0]


def fetch_results(train_url: str, output: Path, ranks: Collection[int]) -> None:
    """Copy what earlier attempts of the job have left in `train_url` to `output`: what is needed to go on.

    Args:
        train_url: a folder or obs:// address.
        output: of this node; files that it has already stay.
        ranks: those of this node, whose logs are kept beside the new ones.

    Raises:
        ClusterError: a file cannot be copied.
    """
    names = [PurePosixPath(name) for name in list_files(train_url)]
    complete = sorted(name.parts[1] for name in names if name.parts[0] == CHECKPOINTS and name.name == "index.json")
    own = {name for rank in ranks for name in (f"rank_{rank}.log", f"exits_{rank}.json")}
    for name in names:
        if name.parts[0] in (HEARTBEATS, "failures") or (output / name).exists():
            continue
        if name.parts[0] == CHECKPOINTS and name.parts[1] not in complete[-_NUM_FETCHED:]:
            continue
        if name.parts[0] == LOGS and name.name not in own:
            continue
        copy_file(join(train_url, str(name)), str(output / name))


def _completed_table(path: Path, time_limit: float) -> RankTable:
    deadline = time.monotonic() + time_limit
    while True:
        try:
            status = read_json(path)["status"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            status = f"not readable: {error}"
        if status == "completed":
            return read_rank_table(path)
        if time.monotonic() > deadline:
            raise ClusterError(
                f"rank table {path} was not completed in {time_limit:.0f} s ({status}): a node of the job did not "
                "start; look at the job's events"
            )
        time.sleep(_POLL)


def _variable(environment: Mapping[str, str], *names: str) -> str:
    for name in names:
        if environment.get(name):
            return environment[name]
    raise ClusterError(
        f"the environment has no {' and no '.join(names)}, which ModelArts sets: start this file as the boot file of a "
        "job with an Ascend image, or set it"
    )


def _number(environment: Mapping[str, str], *names: str) -> int:
    text = _variable(environment, *names)
    number = whole_number(text)
    if number is None:
        raise ClusterError(
            f"{' or '.join(names)} in the environment is {text!r}, not a number: unset what you have set"
        )
    return number
