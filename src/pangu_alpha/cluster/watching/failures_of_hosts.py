"""Known messages of hosts, Python, MindSpore's scheduler and job systems. Rows that say more stand further up."""

from __future__ import annotations

from pangu_alpha.cluster.watching.failure import Kind, KnownFailure

SETTINGS = KnownFailure(
    "settings differ between ranks",
    "the ranks were started with different settings",
    "give every rank the same recipe and the same overrides; `pangu doctor --hosts` compares them before a start",
    texts=("ranks of this job were started with different settings",),
)
DISK_FULL = KnownFailure(
    "disk full",
    "the disk, the quota or the limit on file sizes is used up",
    "free space in the output directory (old runs, train.keep_checkpoints), or set output to another disk; "
    "`df -h` and `ulimit -f` show the limits. A checkpoint that was written before is whole",
    texts=("no space left on device", "file too large", "disk quota exceeded"),
    pattern=r"os error (?:27|28|122)\b",
)
SYSTEM_KILL = KnownFailure(
    "killed by the system for memory",
    "the system killed the process because its host had no memory left",
    "put fewer ranks on {host}, lower train.batch_size, raise the container's limit on memory, or stop what else uses "
    "memory there; while checkpoints are written a host needs most",
    texts=(
        "out of memory: killed process", "oom-kill:", "oom_reaper: reaped process", "oomkilled", "oom-kill event",
        "exceeded job memory limit",
    ),
)  # fmt: skip
JOB_SYSTEM = KnownFailure(
    "ended by the job system",
    "the job system ended the job, for the reason that the line names",
    "ask the job system for more (time, memory, another priority) and start again: it goes on from the newest "
    "checkpoint",
    texts=("due to time limit", "due to preemption", "due to node failure", "the node was low on resource",
           "imminent node shutdown", "longer than specified deadline", "longer than the specified deadline"),
    pattern=r"slurmstepd: error: .*CANCELLED|[Pp]od .*(?:was )?evicted|reason: DeadlineExceeded"
    r"|\bPreempted (?:by (?:a )?pod\b|in order to admit)",
    is_announced=True,
)  # fmt: skip
CAUSES = (
    SYSTEM_KILL,
    DISK_FULL,
    KnownFailure(
        "host out of memory",
        "the process could not get memory on its host",
        "see what else runs on {host} (`free -g`, `ps`), raise `ulimit -v`, put fewer ranks on the host, or lower "
        "train.batch_size",
        texts=("std::bad_alloc", "cannot allocate memory"),
        pattern=r"(?<!\) )[Mm]emory isn't enough and alloc failed|MemoryError|Unable to allocate .*iB",
        call=r"aclrtMallocHost.*fail",
    ),
    JOB_SYSTEM,
    KnownFailure(
        "storage failed",
        "the storage that {host} was reading or writing failed",
        "look at the mounts of {host} (`mount`, `dmesg`) and at the storage itself; mount it again and start again",
        texts=(
            "stale file handle", "stale nfs file handle", "transport endpoint is not connected", "input/output error",
            "remote i/o error", "read-only file system",
        ),
        pattern=r"\[Errno 5\]|os error (?:5|30|107|116|121)\b",
    ),
    KnownFailure(
        "too many open files",
        "the limit on open files is too low for the number of ranks",
        "`ulimit -n 65536` on {host}",
        texts=("too many open files",),
        pattern=r"os error 24\b",
    ),
    KnownFailure(
        "too many processes",
        "the limit on processes and threads of {host} or of its container is reached",
        "`ulimit -u` and the container's pids limit on {host}; end what an earlier job has left",
        texts=("can't start new thread", "fork: retry", "fork: resource temporarily unavailable"),
        pattern=r"pthread_create.*(?:failed|Resource temporarily)|BlockingIOError: \[Errno 11\]",
    ),
    KnownFailure(
        "host name not known",
        "{host} cannot find the address of another host by its name",
        "give the hosts by number, or put their names into /etc/hosts of every host",
        texts=("name or service not known", "temporary failure in name resolution", "nodename nor servname"),
    ),
    KnownFailure(
        "host not reached",
        "{host} does not reach another host, which the line names",
        "check network, firewall and MS_SCHED_HOST, and that the address is one that all hosts reach",
        texts=("no route to host", "network is unreachable"),
    ),
    KnownFailure(
        "scheduler port in use",
        "another process listens on the port that MindSpore's scheduler was given",
        "start again: the launchers take a free port each time. With MS_SCHED_PORT or --master_port of your own, "
        "choose another one; `ss -ltnp` shows who listens",
        texts=(
            "failed to call bind", "address already in use", "ms_sched_port is occupied",
            "check if there's another scheduler process",
        ),
        warns_of=("scheduler lost",),
    ),
    KnownFailure(
        "rank not registered",
        "{rank} could not join the job: MindSpore's scheduler had all its ranks already, so {rank} is one too many, "
        "was started twice, or found the scheduler of another job",
        "see that every rank was started once and that MS_WORKER_NUM (--worker_num) is their number; on the first host "
        "`ss -ltnp` shows whether an older scheduler still listens on the port: end it, or choose another port",
        texts=("could be redundant and is not successfully registered", "registered repeatedly"),
        warns_of=("scheduler lost",),
    ),
    KnownFailure(
        "ranks did not find each other",
        "not all ranks reached MindSpore's scheduler in time",
        "see which rank's log ends early or is missing (`pangu status RUN`), and whether MS_SCHED_HOST is reached from "
        "its host; MS_TOPO_TIMEOUT (--cluster_time_out) is the waiting time",
        pattern=r"Topology build timed out\., retry\((?P<count>\d+)/(?P=count)\)",
        warns_of=("scheduler lost", "ranks lost"),
    ),
    KnownFailure(
        "refused by pangu",
        "{message}",
        "the message says the way out",
        # Not what it says of the end of other ranks, which is further down.
        pattern=r"^pangu: (?P<message>(?!stopped by Ctrl-C|rank \d+ has (?:ended|not found)|\d+ of \d+ ranks of)"
        r".+)",
    ),
    KnownFailure(
        "package missing",
        "a package or library is missing on {host}: {message}",
        "start every rank with the same environment; `pangu doctor --hosts` compares them",
        pattern=r"^(?:\S+ )?(?:ModuleNotFoundError|ImportError): (?P<message>.+)",
    ),
    KnownFailure(
        "file not found",
        "a file is not there on {host}: {message}",
        "see that every host has the project, the recipe and the data under the same paths",
        pattern=r"^(?:\S+ )?FileNotFoundError: (?P<message>.+)",
    ),
    KnownFailure(
        "access denied",
        "the process may not read or write a file on {host}: {message}",
        "correct its owner or mode, or set output to a directory that every rank can write",
        pattern=r"^(?:\S+ )?PermissionError: (?P<message>.+)",
    ),
)  # fmt: skip
UNEXPLAINED = (
    KnownFailure(
        "crashed",
        "unknown: {rank} crashed in compiled code",
        "run it again; if it crashes at the same place, versions of MindSpore, CANN and driver do not fit together",
        texts=("segmentation fault", "fatal python error", "signal: aborted", "core dumped"),
        kind=Kind.UNEXPLAINED,
    ),
    KnownFailure(
        "killed",
        "unknown: {rank} was killed: by a person, by the job system, or by the system when its host had no memory left",
        "`dmesg` on {host} has a line `Killed process` when memory was the reason",
        pattern=r"^(?:\S+: line \d+: +\d+ )?Killed(?: |$)",
        kind=Kind.UNEXPLAINED,
    ),
)
CONSEQUENCES = (
    KnownFailure(
        "rank lost",
        "MindSpore's scheduler heard nothing more from {other}, before others fell silent: it has died or its host has",
        "see the log of {other}",
        pattern=r"worker (?P<other>\d+) is the first one timed out",
        kind=Kind.CONSEQUENCE,
    ),
    KnownFailure(
        "ranks lost",
        "MindSpore's scheduler heard nothing more from {other}: it has died or its host has",
        "see the log of {other}",
        pattern=r"(?:Time out nodes are|The node:) (?P<other>\[[^\]]*\]|\d+(?= is))",
        kind=Kind.CONSEQUENCE,
    ),
    KnownFailure(
        "scheduler lost",
        "the ranks did not all find MindSpore's scheduler",
        "see scheduler.log, and whether every rank was started; MS_SCHED_HOST must be reachable from all hosts",
        texts=(
            "failed to connect to the meta server", "failed to initialize distributed job cluster",
            "failed to initialize collective communication because some processes",
            "connection between the scheduler and the worker",
        ),
        kind=Kind.CONSEQUENCE,
    ),
    KnownFailure(
        "another rank ended",
        "the rank went on until {other} had ended, with which it agrees after every step",
        "see the log of {other}",
        pattern=r"rank (?P<other>\d+) has ended, so that rank \d+ cannot go on",
        kind=Kind.CONSEQUENCE,
    ),
    KnownFailure(
        "ranks did not meet",
        "the rank waited for {other}, which did not come to rank 0 before the first step: it has died, was not "
        "started, or its host does not reach that of rank 0",
        "see the log of {other}; PANGU_ALPHA_MEETING=HOST:PORT, the same on all ranks, must be an address of rank 0",
        texts=("or a firewall is between them: set output to a folder that all hosts see",),
        pattern=r"ranks of this job have not come to rank \d+: \[(?P<other>[\d, ]+)",
        kind=Kind.CONSEQUENCE,
    ),
    KnownFailure(
        "another process ended",
        "msrun saw a process end and ended the others",
        "see the logs of the ranks; the one that ended first says why",
        texts=("there's worker exits with exception", "distributed job exited with exception"),
        pattern=r"(?:Worker|Scheduler) process \d+ exit with exception",
        kind=Kind.CONSEQUENCE,
    ),
)  # fmt: skip
