"""Messages of failed jobs, with what caused them and what to do, in words.

The texts are those of MindSpore, CANN (its codes: EI and EJ are collective communication, EL and EE the driver and the
runtime), Python and this package. Where one cause prints several of them, the one that says more stands further up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class KnownFailure:
    """One row of the table."""

    name: str
    pattern: str
    """What is searched in a log. Named groups can be used in `cause`."""
    cause: str
    fix: str
    is_consequence: bool = False
    """Said by ranks that lost another one: look there first."""


@dataclass(frozen=True)
class Finding:
    """A known failure in a text."""

    failure: KnownFailure
    cause: str
    line: str
    """The line of the text that tells."""


def find_failure(text: str) -> Finding | None:
    """The failure of the table that `text`, a log, is evidence of; None when there is none."""
    for failure in KNOWN_FAILURES:
        match = re.search(failure.pattern, text, re.MULTILINE)
        if match:
            start = text.rfind("\n", 0, match.start()) + 1
            line = text[start:].split("\n", 1)[0].strip()
            return Finding(failure, failure.cause.format(**match.groupdict()), line)
    return None


SETTINGS = KnownFailure(
    "settings differ between ranks",
    r"ranks of this job were started with different settings",
    "the ranks were started with different settings",
    "give every rank the same recipe and the same overrides; `pangu doctor --hosts` compares them before a start",
)
DISK_FULL = KnownFailure(
    "disk full",
    r"No space left on device|os error 28|File too large|os error 27|Disk quota exceeded|os error 122",
    "the disk, the quota or the limit on file sizes is used up",
    "free space in the output directory (old runs, train.keep_checkpoints), or set output to another disk; "
    "`df -h` and `ulimit -f` show the limits. A checkpoint that was written before is whole",
)
HOST_MEMORY = KnownFailure(
    "host out of memory",
    r"Memory isn't enough and alloc failed|MemoryError|std::bad_alloc|Cannot allocate memory|Unable to allocate .*iB",
    "the process could not get memory on its host",
    "see what else runs there (`free -g`, `ps`), raise `ulimit -v`, put fewer ranks on the host, or lower "
    "train.batch_size",
)
SYSTEM_KILL = KnownFailure(
    "killed by the system for memory",
    r"(?i)out of memory: killed process|oom-kill:|oom_reaper: reaped process",
    "the system killed the process because its host had no memory left",
    "put fewer ranks on the host, lower train.batch_size, or stop what else uses memory there; while checkpoints are "
    "written a host needs most",
)
KNOWN_FAILURES = (
    SETTINGS,
    KnownFailure(
        "last training still runs",
        r"EJ0001|Maybe the last training process is running",
        "EJ0001: the cards are still held by processes of an earlier training",
        "look for them on that host (`npu-smi info`, `pgrep -af pangu_alpha`), end them, wait 10 s, start again",
    ),
    KnownFailure(
        "HCCL port in use",
        r"EJ0003|EI0019|IP address and port have been bound already|(?i:hccl).*error code is 11\b",
        "EJ0003, HCCL error code 11: a port that HCCL needs, 60000 and the next ones, is taken on that host, or it "
        "cannot reach another host there",
        "end the other job on the host or set HCCL_IF_BASE_PORT to a free range on all hosts; keep 60000-60015 out of "
        "other programs' hands with net.ipv4.ip_local_reserved_ports; `pangu doctor` checks it",
    ),
    KnownFailure(
        "network port down",
        r"EJ0002|network port is down",
        "EJ0002: the card's own network port has no link",
        "check cable and switch; `hccn_tool -i CARD -link -g` shows the link, `-ip -g` the address",
    ),
    KnownFailure(
        "rank table refused",
        r"EI0004|EI0014|EI0017|ranktable (or rank )?is invalid|Init plugin so failed, ret = 1343225860",
        "HCCL refuses the rank table: it is not what the servers have, or two hosts read different ones",
        "`pangu ranktable check TABLE` names the mistake; give every host the same file",
    ),
    KnownFailure(
        "collectives do not match",
        r"EI0005|arguments for collective communication are inconsistent",
        "EI0005: two ranks entered one collective with different shapes: they run different settings or programs",
        "give every rank the same recipe, overrides and package versions; `pangu doctor --hosts` compares them",
    ),
    KnownFailure(
        "HCCL versions differ",
        r"EI0008|HCCL versions are inconsistent",
        "EI0008: the hosts have different versions of CANN",
        "install the same CANN everywhere; `pangu doctor --hosts` compares the versions",
    ),
    KnownFailure(
        "HCCL setting invalid",
        r"EI0001|Environment variable \[\S+\] is invalid",
        "EI0001: HCCL refuses the value of an environment variable, which the line names",
        "correct or unset it; HCCL_CONNECT_TIMEOUT takes 120 to 7200",
    ),
    KnownFailure(
        "card does not exist",
        r"EE1001|invalid device, set device",
        "EE1001: DEVICE_ID names a card that this host does not have, or that the container does not see",
        "compare the rank table's device_id with `npu-smi info` and with ASCEND_RT_VISIBLE_DEVICES",
    ),
    KnownFailure(
        "card occupied",
        r"may be other processes occupying this card|free memory size is less than half of total",
        "another process holds this card's memory",
        "find it with `npu-smi info`, end it and start again",
    ),
    KnownFailure(
        "device out of memory",
        r"EL0004|EI0007|EI0011|Out of Memory!!!|device memory is not enough|halMemAlloc failed"
        r"|driver error:out of memory|Device\(id:\d+\) memory isn't enough",
        "the network does not fit into the card's memory",
        "more train.num_micro_batches or a smaller train.batch_size, parallel.rematerialisation=selective or whole, "
        "parallel.optimizer_sharding=true, or more parallel.mp or pp",
    ),
    KnownFailure(
        "scheduler port in use",
        r"Failed to call bind|Address already in use|MS_SCHED_PORT is occupied",
        "another process listens on the port that MindSpore's scheduler was given",
        "start again: the launchers take a free port each time. With MS_SCHED_PORT or --master_port of your own, "
        "choose another one; `ss -ltnp` shows who listens",
    ),
    SYSTEM_KILL,
    DISK_FULL,
    HOST_MEMORY,
    KnownFailure(
        "too many open files",
        r"Too many open files|os error 24",
        "the limit on open files is too low for the number of ranks",
        "`ulimit -n 65536` on that host",
    ),
    KnownFailure(
        "no NPU software",
        r"libascendcl\.so|libhccl\.so: cannot open|CANN is not installed",
        "CANN's libraries are not on this host's library path",
        "install CANN and source its set_env.sh in the shell that starts the job, on every host",
    ),
    KnownFailure(
        "refused by pangu",
        r"^pangu: (?P<message>(?!interrupted).+)",
        "{message}",
        "the message says the way out",
    ),
    KnownFailure(
        "HCCL connection timed out",
        r"EI0006|EI0009|EI0015|Getting socket times out|(?i:hccl).*error code is 9\b",
        "HCCL waited for another rank and gave up: that rank has died, or still compiles",
        "see what the rank did that is named here or silent; if all only compile for long, raise HCCL_CONNECT_TIMEOUT "
        "(up to 7200 s); check the cards' network with `hccn_tool -i CARD -ping -g address IP`",
        is_consequence=True,
    ),
    KnownFailure(
        "collective timed out",
        r"EI0002|Notify register times out|Heartbeat Lost Occurred|EI0012|EI0013",
        "a collective waited for another rank until its time was up: that rank has died, hangs, or lost its network",
        "see what the other ranks say; HCCL_EXEC_TIMEOUT is the waiting time",
        is_consequence=True,
    ),
    KnownFailure(
        "HCCL failed",
        r"HCCL function error|(?i:hcclCommInit)\w* failed|load task fail, return ret: 1343225860"
        r"|collective communication initialization failed",
        "HCCL could not connect the ranks and does not say why",
        "see the other ranks and CANN's own log (~/ascend/log/debug/plog); ASCEND_SLOG_PRINT_TO_STDOUT=1 prints it",
        is_consequence=True,
    ),
    KnownFailure(
        "rank lost",
        r"worker (?P<rank>\d+) is the first one timed out",
        "MindSpore's scheduler heard nothing more from rank {rank}: it has died or its host has",
        "see the log of rank {rank}",
        is_consequence=True,
    ),
    KnownFailure(
        "scheduler lost",
        r"Failed to connect to the meta server|Failed to initialize distributed job cluster",
        "the ranks did not all find MindSpore's scheduler",
        "see scheduler.log, and whether every rank was started; MS_SCHED_HOST must be reachable from all hosts",
        is_consequence=True,
    ),
    KnownFailure(
        "collective broken",
        r"Launch kernel failed: .*/(AllReduce|AllGather|ReduceScatter|Broadcast|Send|Receive|AlltoAll)",
        "a collective broke off because another rank is gone",
        "see the other ranks",
        is_consequence=True,
    ),
)
"""Searched from the top."""
SIGNALS = {
    "SIGKILL": (
        "killed by SIGKILL: by a person, by the job system, or by the system when its host had no memory left",
        "`dmesg` on that host has a line `Killed process` when memory was the reason; then put fewer ranks on it or "
        "lower train.batch_size",
    ),
    "SIGTERM": ("asked to end by SIGTERM before it could save", "see who stopped it: a person or the job system"),
    "SIGSEGV": (
        "crashed (SIGSEGV) in compiled code",
        "run it again; if it crashes at the same place, versions of MindSpore, CANN and driver do not fit together",
    ),
    "SIGBUS": (
        "crashed (SIGBUS): a file or shared memory that it had mapped is gone or could not be filled",
        "look at the space in /dev/shm and whether data files were changed during the run",
    ),
    "SIGABRT": ("gave up by itself (SIGABRT)", "the last lines of its log say why"),
    "SIGXFSZ": (DISK_FULL.cause, DISK_FULL.fix),
}
"""Cause and fix of a death by a signal, when the log says nothing."""
