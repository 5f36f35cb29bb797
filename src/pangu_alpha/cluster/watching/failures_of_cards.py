"""Known messages of CANN.

Its codes: EI and EJ are collective communication, EE and EH the runtime, EL the driver, EZ and E1 to EB operators and
graphs. The numbers are those of the runtime's header: 107xxx is a wrong call, 207xxx a resource that is used up, 507xxx
something that broke on the card. HCCL9 is what a function of HCCL returned. Rows that say more stand further up.
"""

from __future__ import annotations

from pangu_alpha.cluster.watching.failure import Kind, KnownFailure

_PLOG = (
    "CANN's own log on {host} says more: ~/ascend/log/debug/plog (or ASCEND_PROCESS_LOG_PATH); with "
    "ASCEND_SLOG_PRINT_TO_STDOUT=1 the next start prints it"
)
_HEALTH = "`npu-smi info -t health -i {card_id}` on {host} shows its health"
_CARD_FIX = (
    "compare the rank table's device_id with ASCEND_RT_VISIBLE_DEVICES and DEVICE_ID of the process on {host} and with "
    "`npu-smi info`; one process a card, and no ASCEND_RT_VISIBLE_DEVICES beside a rank table"
)
_COLLECTIVES = "AllReduce|AllGather|ReduceScatter|Broadcast|Send|Receive|AlltoAll"


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


CAUSES = (
    KnownFailure(
        "last training still runs",
        "EJ0001: the cards are still held by processes of an earlier training",
        "look for them on {host} (`npu-smi info`, `pgrep -af pangu_alpha`), end them, wait 10 s, start again",
        codes=_codes("EJ0001"),
        texts=("maybe the last training process is running",),
    ),
    KnownFailure(
        "rank table names another card",
        "the rank table gives {rank} card {table_card}, but the process runs on {card}",
        _CARD_FIX,
        pattern=r"ranktable config devId\[(?P<table_card>\d+)\].*local devId\[(?P<card>\d+)\]",
    ),
    KnownFailure(
        "rank table names another card, unnumbered",
        "EI0004: the card that the rank table gives {rank} is not the card that the process runs on",
        _CARD_FIX,
        texts=("devid is inconsistent with the local devid",),
    ),
    KnownFailure(
        "HCCL port in use",
        "EJ0003, EI0019, HCCL error code 11: a port that HCCL needs, 60000 and the next ones, is taken on {host}, or "
        "it cannot reach another host there",
        "end the other job on {host} or set HCCL_IF_BASE_PORT to a free range on all hosts; keep 60000-60015 out of "
        "other programs' hands with net.ipv4.ip_local_reserved_ports; `pangu doctor` checks it",
        codes=_codes("EJ0003 EI0019 EI0020 HCCL11"),
        texts=("ip address and port have been bound already", "nic listen start failed", "failed to bind the ip port"),
    ),
    KnownFailure(
        "network port down",
        "EJ0002: the network port of {card} has no link",
        "check cable, optical module and switch; `hccn_tool -i {card_id} -link -g` on {host} shows the link, "
        "`-optical -g` the module, `-ip -g` the address",
        codes=_codes("EJ0002 507056"),
        texts=("network port is down", "link down"),
    ),
    KnownFailure(
        "card has another address",
        "EJ0004: the address that the rank table gives {card} is not the one that the card has",
        "`hccn_tool -i {card_id} -ip -g` on {host} shows the card's; make the rank table again or set the address",
        codes=_codes("EJ0004"),
        texts=("check ip fail",),
    ),
    KnownFailure(
        "rank table refused",
        "HCCL refuses the rank table: it is not what the servers have, or two hosts read different ones",
        "`pangu ranktable check TABLE` names the mistake; give every host the same file",
        codes=_codes("EI0004 EI0014 EI0017 HCCL10"),
        texts=(
            "ranktable is invalid", "ranktable or rank is invalid", "init plugin so failed, ret = 1343225860",
            "failed to parse the ranktable", "rank table file is incorrect", "failed to open rank table file",
            "ranktable information check failed", "get hccl rank_table_file failed",
        ),
    ),
    KnownFailure(
        "collectives do not match",
        "EI0005: two ranks entered one collective with different shapes: they run different settings or programs",
        "give every rank the same recipe, overrides and package versions; `pangu doctor --hosts` compares them",
        codes=_codes("EI0005"),
        texts=("arguments for collective communication are inconsistent",),
    ),
    KnownFailure(
        "collective has a wrong argument",
        "EI0003: a collective was called with an argument that HCCL does not take, which the line names",
        "correct it where the line says; with shipped recipes compare the versions of MindSpore and CANN: "
        "`pangu doctor --hosts`",
        codes=_codes("EI0003 HCCL1 HCCL5"),
        texts=("collective communication operator has an invalid argument",),
    ),
    KnownFailure(
        "HCCL versions differ",
        "EI0008: the hosts have different versions of CANN",
        "install the same CANN everywhere; `pangu doctor --hosts` compares the versions",
        codes=_codes("EI0008"),
        texts=("hccl versions are inconsistent",),
    ),
    KnownFailure(
        "HCCL setting invalid",
        "EI0001, EI0016: HCCL refuses the value of a setting, which the line names",
        "correct or unset it; HCCL_CONNECT_TIMEOUT takes 120 to 7200",
        codes=_codes("EI0001 EI0016"),
        pattern=r"Environment variable \[\S+\] is invalid",
    ),
    KnownFailure(
        "cards of a server cannot reach each other",
        "EI0010: {card} cannot reach another card of the same server",
        "`npu-smi info -t topo` on {host} shows how they are joined; look at the other card's rank, at containers that "
        "see only some of the cards, or set HCCL_INTRA_ROCE_ENABLE=1",
        codes=_codes("EI0010"),
        texts=("p2p communication failed",),
    ),
    KnownFailure(
        "card lost",
        "{card} no longer answers: it lost its heartbeat",
        _HEALTH + ", `dmesg` what the driver saw; take the server out of the job, reset the card "
        "(`npu-smi set -t reset -i {card_id} -c 0`) or restart the server before it is used again",
        codes=_codes("EL0001 507010 507901"),
        texts=("device not found or invalid", "reason=lost heartbeat", "reason=[lost heartbeat"),
        pattern=r"Device\[(?P<card>\d+)\] lost heartbeat",
    ),
    KnownFailure(
        "card has a memory fault",
        "the memory (HBM) of {card} has a fault that cannot be corrected",
        "take the server out of the job; `npu-smi info -t ecc -i {card_id}` on {host} counts the faults: restart or "
        "reset the card, and have it replaced when they come back",
        codes=_codes("507053 507054 507055"),
        texts=("multi-bit ecc", "multi bit ecc", "multibit ecc", "uce error", "reason=[device mem error"),
    ),
    KnownFailure(
        "data came too late",
        "{card} waited for the next batch until its time was up: reading the data is too slow or has stopped",
        "look at the storage of data.train from {host} and at its processors (`top`, `iostat`); copy the token files "
        "to a local disk",
        texts=("getnext error may be caused by", "for 'getnext', get data timeout", "getnext timed out"),
        pattern=r"Dump node \(\S*GetNext",
        warns_of=("AI CPU fault", "operator failed", "stream failed", "error inside CANN", "another code of CANN"),
    ),
    KnownFailure(
        "AI core fault",
        "a computing core of {card} stopped with an exception",
        _HEALTH + " and CANN's plog names the operator. When it is always this card, take the server out of the job "
        "and have the card checked; when other cards stop at the same operator, CANN or its version is at fault",
        codes=_codes("507015 507016 507035 507036 507042 507043 507044 507045 507049 507050"),
        texts=(
            "aicore exception", "ai core exception", "aivec exception", "aicore error exception",
            "aivec error exception", "vector core exception", "aicore trap exception", "vector core trap",
            "aicore kernel execute failed", "fftsplus exception", "aivector error", "aicore error,", "ai core error",
            "of the mte instruction is out of range",
        ),
    ),
    KnownFailure(
        "AI core timed out",
        "an operator on a computing core of {card} did not come to its end",
        _HEALTH + " and CANN's plog names the operator; when it is always this card, take the server out of the job",
        codes=_codes("507014 507034"),
        texts=("reason=[aicore timeout", "reason=[vector core timeout"),
    ),
    KnownFailure(
        "AI CPU fault",
        "an operator that runs on the processor (AI CPU) of {card} failed; an index beyond its table, such as a token "
        "id that the vocabulary does not have, does that",
        "see that the token files are of this tokenizer (`pangu doctor RECIPE`); " + _PLOG,
        codes=_codes("E39999 507017 507018 507900 E30008"),
        texts=("aicpu exception", "aicpu timeout", "aicpu kernel task happen", "aicpu kernel execute failed",
               "during aicpu execution", "the aicpu execution is abnormal"),
    ),
    KnownFailure(
        "card occupied",
        "another process holds {card} or its memory",
        "find it with `npu-smi info` on {host}, end it and start again",
        codes=_codes("EL0005"),
        texts=("may be other processes occupying this card", "free memory size is less than half of total",
               "the resources are busy"),
        warns_of=("device out of memory",),
    ),
    KnownFailure(
        "device out of memory",
        "the network does not fit into the card's memory ({card})",
        "of these what is not set yet: parallel.optimizer_sharding=true, parallel.sequence_parallel=true, "
        "parallel.rematerialisation=selective or whole; else more train.num_micro_batches, a smaller train.batch_size, "
        "or more parallel.mp or pp. `pangu compile` shows beforehand what a recipe needs, and `npu-smi info` on {host} "
        "whether another process holds memory of the card",
        codes=_codes("EL0004 EI0007 EI0011 207001 207018 HCCL3 HCCL24"),
        texts=(
            "out of memory!!!", "npu out of memory", "device memory is not enough", "driver error:out of memory",
            "more than total mem size", "to allocate device memory failed", "expand block failed",
            "failed to alloc memory pool", "allocate memory failed", "failed to allocate memory requested by",
            "is smaller than required size", "device memory not enough", "hbm memory is not enough",
        ),
        pattern=r"Device\(id:(?P<card>\d+)\) memory isn't enough|\[devmm\].*<errno:12",
        call=r"aclrtMalloc(?!Host)\w* .*fail"
        r"|(?i:halmemalloc failed|rtmalloc (?:execute )?fail|malloc device memory failed)",
    ),
    KnownFailure(
        "card does not exist",
        "DEVICE_ID names a card ({card}) that does not exist, or that the container does not see",
        "compare the rank table's device_id with `npu-smi info` and with ASCEND_RT_VISIBLE_DEVICES on {host}",
        codes=_codes("EL0002 EL0015 107001 207004"),
        texts=("invalid device, set device", "invalid device id", "invalid deviceid"),
        pattern=r"Got device count\[(?P<num_cards>\d{1,9})\] and device id\[(?P<card>\d{1,9})\]",
    ),
    KnownFailure(
        "card cannot be opened",
        "the process may not open {card}",
        "run it as a member of the group HwHiAiUser, and give the container /dev/davinci* and /dev/davinci_manager",
        codes=_codes("EL0007 207006"),
        pattern=r"/dev/davinci\w*.*(?i:denied|No such)|(?i:denied).*/dev/davinci",
    ),
    KnownFailure(
        "card does not start",
        "CANN's services on {card} did not start: the operator packages, driver and firmware do not fit, or the card "
        "is ill",
        "`npu-smi info` on {host} shows driver and health; install CANN, driver and firmware of one release, restart "
        "the host when a card stays ill",
        codes=_codes("507033 E30003 E30004 E30005 E30006 E30007 E39002"),
        texts=("failed to start the device", "failed to verify the opp", "start aicpu executor failed",
               "failed to obtain the number of devices", "failed to initialize the hccp process"),
    ),
    KnownFailure(
        "resources of a card used up",
        "{card} has no streams, events or notifies left",
        "end other processes on the card (`npu-smi info`); fewer train.num_micro_batches or pipeline stages need fewer",
        codes=_codes(
            "EL0006 EL0008 EL0009 EL0010 EL0011 EL0012 EL0013 207005 207007 207008 207009 207010 207011 207012 207014"
        ),
        texts=("notify resources are insufficient", "stream resources are insufficient",
               "event resources are insufficient", "model resources are insufficient"),
    ),
    KnownFailure(
        "computation overflowed",
        "a computation of {rank} overflowed, and CANN was told to stop at it",
        "look at the loss before it (metrics.jsonl): a smaller learning rate, more warm-up, or float32; unset "
        "MS_ASCEND_CHECK_OVERFLOW_MODE and INF_NAN_MODE_ENABLE",
        codes=_codes("207003 207016 207017"),
        texts=("the stream get overflow", "reason=[aicore over flow", "reason=[aivec over flow"),
    ),
    KnownFailure(
        "operator cannot be compiled",
        "CANN cannot compile an operator of the network, which the line names",
        "compare the versions of MindSpore and CANN on {host} (`pangu doctor --hosts`); empty ASCEND_CACHE_PATH and "
        "look at the memory and disk of {host} when it compiled before",
        texts=(
            "compile operator failed", "failed to compile op", "build graph failed", "tbe compile failed",
            "tbe single op compile failed", "kernel select failed", "can't find opadapter for",
            "main process disappeared", "failed to compile graph",
        ),
        pattern=r"\b(?:E[4-9AB][0-8]\d{3}|EZ300[23])(?=[:)\[])|of [Oo]ps kernel \S+ is unsupported"
        r"|task_distribute.*(?:failed|disappear)",
    ),
    KnownFailure(
        "versions do not fit",
        "a library on {host} is not of the version that MindSpore or CANN was built for",
        "install MindSpore, CANN, driver and firmware of one release on every host; `pangu doctor --hosts` compares",
        codes=_codes("507008"),
        texts=("undefined symbol:", "reason=[soc version"),
        pattern=r"version [`'](?:GLIBC|GLIBCXX|CXXABI)\S+ not found",
    ),
    KnownFailure(
        "no NPU software",
        "CANN's libraries or the driver are not on the library path of {host}",
        "install CANN and source its set_env.sh in the shell that starts the job, on every host",
        texts=(
            "libascendcl.so", "libhccl.so: cannot open", "libascend_hal.so: cannot open", "cann is not installed",
            "unsupported device target ascend", "liboptiling.so: cannot open",
        ),
        pattern=r"libmindspore_ascend\.so\S* failed",
        warns_of=("package missing",),
    ),
)  # fmt: skip
UNEXPLAINED = (
    KnownFailure(
        "driver broke",
        "unknown: the driver of {card} reports an error of its own and does not say why",
        _HEALTH + ", `dmesg` what the driver saw; " + _PLOG,
        codes=_codes("507899 507022 507051 507052 EL9999"),
        texts=("driver error:internal error",),
        kind=Kind.UNEXPLAINED,
    ),
    KnownFailure(
        "operator failed",
        "unknown: the operator {operator} failed on {card}, and this log does not say why",
        _PLOG,
        pattern=rf"Launch kernel failed: (?!.*/(?:{_COLLECTIVES}))(?P<operator>\S+)",
        kind=Kind.UNEXPLAINED,
    ),
    KnownFailure(
        "stream failed",
        "unknown: {card} did not finish its work, and this log does not say why",
        _HEALTH + "; " + _PLOG + ". Out of memory, a fault of the card and a lost rank all look like this",
        codes=_codes("507011 507000 507001"),
        texts=(
            "sync stream failed", "sync stream error", "sync default stream failed", "syncstream failed",
            "rtstreamsynchronize error", "rtstreamsynchronize failed", "model execute failed", "run task error",
            "acl stream synchronize failed",
        ),
        pattern=r"aclrtSynchronize\w+ (?:error|failed)|Run task for graph\S* error",
        kind=Kind.UNEXPLAINED,
    ),
    KnownFailure(
        "error inside CANN",
        "unknown: CANN reports an error inside itself ({code}) and does not say why",
        _PLOG,
        pattern=r"\b(?P<code>E[A-Z1-9]9999|EE8888)\b",
        kind=Kind.UNEXPLAINED,
    ),
    KnownFailure(
        "another code of CANN",
        "unknown: CANN reports a code that is not in this table ({code})",
        "search the code in CANN's manual; " + _PLOG,
        pattern=r"\b(?P<code>E[A-Z1-9][0-8]\d{3})(?=[:)\[])|(?:runtime result =|error code is|retcode:) ?"
        r"(?P<number>[125]0[07]\d{3})\b",
        kind=Kind.UNEXPLAINED,
    ),
)  # fmt: skip
CONSEQUENCES = (
    KnownFailure(
        "another card named by HCCL",
        "HCCL says of card {peer} of server {server}: {what}; that rank has died, hangs, or lost its network",
        "see the log of the rank on that card, and the card (`npu-smi info -t health -i {peer}` there)",
        pattern=r"Cluster Exception Location\[IP/ID\]:\[(?P<server>[^/\]]+)/(?P<peer>\d+)\]"
        r".*ExceptionType:\[(?P<what>[^\]]+)",
        kind=Kind.CONSEQUENCE,
    ),
    KnownFailure(
        "ranks did not connect",
        "HCCL waited for {other}, which did not connect: it has died, was not started, or its host is not reached",
        "see the log of {other}; HCCL_SOCKET_IFNAME must name a network card that all hosts reach",
        pattern=r"Failed to connect agent\[(?P<other>[\d, ]+)\]",
        kind=Kind.CONSEQUENCE,
    ),
    KnownFailure(
        "HCCL connection timed out",
        "HCCL waited for {other} and gave up: that rank has died, or still compiles",
        "see what the rank did that is named here or silent; if all only compile for long, raise HCCL_CONNECT_TIMEOUT "
        "(up to 7200 s); check the cards' network with `hccn_tool -i {card_id} -ping -g address IP`",
        codes=_codes("EI0006 EI0009 EI0015 HCCL9"),
        texts=("getting socket times out", "connected p2p timeout", "get socket timeout"),
        pattern=r"remoteUserrank\[(?P<other>\d+)",
        kind=Kind.CONSEQUENCE,
    ),
    KnownFailure(
        "collective timed out",
        "a collective waited for {other} until its time was up: that rank has died, hangs, or lost its network",
        "see what {other} says and does; HCCL_EXEC_TIMEOUT is the waiting time",
        codes=_codes("EI0002 507048"),
        texts=(
            "notify register times out", "register waits for execution", "heartbeat lost occurred", "stuck occurred",
            "fftsplus timeout",
        ),
        pattern=r"EI0002.*?(?:remote rank|[Pp]eer rank):? ?\[?(?P<other>\d+)",
        kind=Kind.CONSEQUENCE,
        warns_of=("operator failed", "stream failed", "error inside CANN", "another code of CANN", "stream timed out"),
    ),
    KnownFailure(
        "connection to a card broke",
        "the connection from {card} to card {peer} of server {server} broke: that rank has died, or the network "
        "between them has",
        "see the log of that rank; then the links of both cards (`hccn_tool -i CARD -link -g`, `-net_health -g`) and "
        "the switch between them",
        pattern=r"(?:EI0013|EI0018|An error CQE occurred).*?Peer information: server (?P<server>\S+?), "
        r"device ID (?P<peer>\d+)",
        kind=Kind.CONSEQUENCE,
    ),
    KnownFailure(
        "connection broke",
        "the connection of {card} to another card broke: that rank has died, or the network between them has",
        "see what the other ranks say; then the links of the cards (`hccn_tool -i {card_id} -link -g`)",
        codes=_codes("EI0012 EI0013 EI0018 507904 507057 507013 HCCL12 HCCL13 HCCL14 HCCL19 HCCL21 HCCL23"),
        texts=("error cqe", "sdma memory copy task exception"),
        kind=Kind.CONSEQUENCE,
    ),
    KnownFailure(
        "stream timed out",
        "{card} did not finish its work in time: mostly it waited in a collective for another rank that has died, "
        "hangs or is slower",
        "look at the other ranks, first at those that report no time-out or nothing at all (`pangu status RUN`); when "
        "all report one, at the cards' network and at HCCL_EXEC_TIMEOUT",
        codes=_codes("EE1002 507046 507047 507012 107019 107020 107022 107023"),
        texts=(
            "reason=[stream sync timeout", "reason=[event sync timeout", "reason=[task timeout", "error: force stop",
        ),
        kind=Kind.CONSEQUENCE,
    ),
    KnownFailure(
        "collective broken",
        "a collective broke off because another rank is gone",
        "see the other ranks",
        pattern=rf"Launch kernel failed: .*/(?:{_COLLECTIVES})",
        kind=Kind.CONSEQUENCE,
    ),
    KnownFailure(
        "HCCL failed",
        "HCCL could not connect the ranks and does not say why",
        "see the other ranks and CANN's own log (~/ascend/log/debug/plog); ASCEND_SLOG_PRINT_TO_STDOUT=1 prints it",
        texts=(
            "hccl function error", "load task fail, return ret: 1343225860", "err02200",
            "collective communication initialization failed", "hccl initialize failed",
        ),
        pattern=r"(?i:hccl(?:CommInit|GetRootInfo)\w*\W.*fail|hcom_?init\w*\W.*fail)|hcclRet ?-> ?\d",
        kind=Kind.CONSEQUENCE,
    ),
)  # fmt: skip
