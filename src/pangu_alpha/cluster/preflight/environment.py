"""Limits of this shell, and environment variables that contradict each other, the recipe or the rank table."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping
from pathlib import Path

from pangu_alpha.cluster.launching.environment import CONNECT_TIMEOUT, CONNECT_TIMEOUT_RANGE
from pangu_alpha.cluster.preflight.finding import Finding, bad, ok
from pangu_alpha.config import RunConfig
from pangu_alpha.console import si
from pangu_alpha.parallel.parameters import num_parameters
from pangu_alpha.reading import whole_number

_OPEN_FILES_A_RANK, _OTHER_OPEN_FILES = 2, 1024
"""MindSpore's scheduler holds 2 a rank (measured with 2, 4 and 6 ranks), a rank about 30 and its data."""
_THREADS_A_RANK = 256
"""A rank has 15 threads on 2 cores (measured) and more on a server of 192."""
_MAX_LOCAL_RANKS = 16
_MOMENTS_BYTES = 8
"""Of a parameter: two float32 moments, in the largest file of a checkpoint."""
_STACK_BYTES = 8 << 20


def check_limits(config: RunConfig) -> list[Finding]:
    """Whether this shell's `ulimit`s let the job open its files, start its threads and write its checkpoints."""
    local_ranks = min(config.parallel.num_devices, _MAX_LOCAL_RANKS)
    largest_file = _MOMENTS_BYTES * num_parameters(config.model) // _num_shares(config)
    needs = (
        (
            "n",
            "open files",
            resource.RLIMIT_NOFILE,
            _OTHER_OPEN_FILES + _OPEN_FILES_A_RANK * config.parallel.num_devices,
        ),
        ("u", "threads", resource.RLIMIT_NPROC, _THREADS_A_RANK * local_ranks),
        ("f", "bytes of a file", resource.RLIMIT_FSIZE, largest_file),
        ("s", "bytes of stack", resource.RLIMIT_STACK, _STACK_BYTES),
        ("v", "bytes of address space", resource.RLIMIT_AS, resource.RLIM_INFINITY),
    )
    findings, limits = [], []
    for letter, unit, name, needed in needs:
        limit = resource.getrlimit(name)[0]
        limits.append(f"{unit} {_show(limit)}")
        if limit != resource.RLIM_INFINITY and (needed == resource.RLIM_INFINITY or limit < needed):
            enough = needed if name in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC) else "unlimited"
            fix = f"`ulimit -{letter} {enough}` before the launch, or raise it in /etc/security/limits.conf"
            findings.append(bad(f"ulimit -{letter}", f"{limits[-1]}, and the job needs {_show(needed)}", fix))
    return findings or [ok("ulimits", ", ".join(limits))]


def _num_shares(config: RunConfig) -> int:
    """In how many parts of about the same size the ranks write a checkpoint, at least."""
    parallel = config.parallel
    # Replicas whose hosts share no folder leave all to the first. Of stages, one may hold more than its share.
    return parallel.mp * max(1, parallel.pp // 2)


def check_variables(config: RunConfig, environment: Mapping[str, str]) -> list[Finding]:
    """Whether the environment variables that MindSpore and HCCL read agree with each other and with the job."""
    contradictions = [
        *_job_variables(config, environment),
        *_device_variables(config, environment),
    ]
    if not contradictions:
        return [ok("environment", "no variables that contradict each other")]
    return [bad("environment", found, fix) for found, fix in contradictions]


def _show(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else si(limit)


def _job_variables(config: RunConfig, env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    num_devices = str(config.parallel.num_devices)
    for name in ("RANK_SIZE", "MS_WORKER_NUM"):
        if env.get(name, num_devices) != num_devices:
            yield f"{name}={env[name]}, but the recipe's mesh has {num_devices} devices", f"unset {name}"
    rank, size = whole_number(env.get("RANK_ID", "")), whole_number(env.get("RANK_SIZE", ""))
    if "RANK_ID" in env and rank is None:
        yield f"RANK_ID={env['RANK_ID']} is not a number", "unset it; the launcher sets it"
    if rank is not None and size is not None and rank >= size:
        yield f"RANK_ID={rank} is not below RANK_SIZE={size}", "unset both; the launcher sets them"
    if "MS_ROLE" in env and "MS_SCHED_PORT" not in env:
        yield f"MS_ROLE={env['MS_ROLE']} without MS_SCHED_PORT", "unset MS_ROLE; the launcher sets both"
    if config.device == "ascend" and env.get("RANK_TABLE_FILE"):
        found = f"RANK_TABLE_FILE={env['RANK_TABLE_FILE']}: MindSpore would compile for another backend"
        yield found, "unset it; the launcher and the boot file do so, and read the table themselves"
    if "MS_SIMULATION_LEVEL" in env:
        level = env["MS_SIMULATION_LEVEL"]
        yield f"MS_SIMULATION_LEVEL={level}: MindSpore would only pretend to run", "unset MS_SIMULATION_LEVEL"


def _device_variables(config: RunConfig, env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    device, visible = env.get("DEVICE_ID"), env.get("ASCEND_RT_VISIBLE_DEVICES")
    if device is not None and env.get("ASCEND_DEVICE_ID", device) != device:
        yield f"DEVICE_ID={device}, but ASCEND_DEVICE_ID={env['ASCEND_DEVICE_ID']}", "unset one of them"
    if device is not None and visible is not None and device not in visible.split(","):
        yield f"DEVICE_ID={device} is not in ASCEND_RT_VISIBLE_DEVICES={visible}", "unset ASCEND_RT_VISIBLE_DEVICES"
    timeout = env.get("HCCL_CONNECT_TIMEOUT")
    low, high = CONNECT_TIMEOUT_RANGE
    if timeout is not None and not low <= (whole_number(timeout) or 0) <= high:
        found = f"HCCL_CONNECT_TIMEOUT={timeout} is not between {low} and {high} s"
        yield found, f"unset it; the launcher sets {CONNECT_TIMEOUT}"
    if env.get("HCCL_WHITELIST_DISABLE") == "0" and "HCCL_WHITELIST_FILE" not in env:
        yield "HCCL_WHITELIST_DISABLE=0 without HCCL_WHITELIST_FILE", "set HCCL_WHITELIST_DISABLE=1"
    home = env.get("ASCEND_HOME_PATH")
    if config.device == "ascend" and home is not None and not Path(home).is_dir():
        yield f"ASCEND_HOME_PATH={home}: no such directory", "source set_env.sh of the CANN that is installed"
