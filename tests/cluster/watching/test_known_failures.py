"""Recorded messages are recognised, and what a healthy job prints is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pangu_alpha.cluster.watching.failure import KnownFailure, Line, Match, Origin
from pangu_alpha.cluster.watching.known_failures import KNOWN_FAILURES, SIGNALS, find_failure
from pangu_alpha.cluster.watching.logs import read_log

MESSAGES = Path(__file__).parent / "messages"
"""Named after the rows of the table. From MindSpore's and CANN's documentation and users' reports; those of CPU jobs
were recorded with MindSpore 2.10."""
RECORDED = {path.stem.replace("_", " "): path.read_text(encoding="utf-8") for path in MESSAGES.glob("*.txt")}
HEALTHY = RECORDED.pop("healthy")
VARIANTS = [
    ("rank table refused", "RuntimeError: Init plugin so failed, ret = 1343225860"),
    ("HCCL failed", "Distribute Task Failed, error msg: davinci_model : load task fail, return ret: 1343225860"),
    ("HCCL port in use", "HCCL function error: hcclCommInitRootInfoConfig(numRanks, rank, config), error code is 11"),
    ("HCCL port in use", "[PID: 9] Communication_Error_Bind_IP_Port(EI0019): Failed to bind the IP port."),
    ("HCCL connection timed out", "HCCL function error: HcclCommInitRootInfo(numRanks, rank), error code is 9"),
    ("device out of memory", "Memory_Allocation_Failure(EL0004): Failed to allocate memory requested by GE module."),
    ("device out of memory", "[driver interface] halMemAlloc failed: device_id=6, size=32212254720, type=2"),
    ("device out of memory", "Device(id:3) memory isn't enough and alloc failed, kernel name: Default/MatMul-op1"),
    ("host out of memory", "MemoryError: Unable to allocate 16.0 MiB for an array with shape (2048, 2048)"),
    ("host out of memory", "terminate called after throwing an instance of 'std::bad_alloc'"),
    ("disk full", "SafetensorError: Error while serializing: I/O error: File too large (os error 27)"),
    ("settings differ between ranks", "pangu: the ranks of this job were started with different settings. `pangu"),
    ("too many open files", "OSError: [Errno 24] Too many open files: 'tokens/train.bin'"),
    ("no NPU software", "device 'ascend' cannot be used here: libascendcl.so: cannot open shared object file"),
    ("network port down", "EJ0002: The network port is down.Suggest: check the cable"),
    ("HCCL versions differ", "EI0008: The HCCL versions are inconsistent: tag [x], local_version [1]"),
    ("HCCL setting invalid", "EI0001: Environment variable [HCCL_CONNECT_TIMEOUT] is invalid. Reason: x."),
    ("rank table names another card", "ranktable config devId[1], but local devId[3]"),
    ("rank table names another card, unnumbered", "The ranktable config devId is inconsistent with the local devId."),
    ("rank table refused", "EI0014: [PID: 1] Value 9 for ranktable variable device_ip is invalid. Expected value: x."),
    ("rank table refused", "HCCL function error: HcclCommInitClusterInfo, error code is 10"),
    ("card has another address", "EJ0004: [PID: 5] Check ip fail. Reason: ip is not on the card"),
    ("collective has a wrong argument", "EI0003: In [HcclAllReduce], value [9] for parameter [dataType] is invalid."),
    ("cards of a server cannot reach each other", "EI0010: P2P communication failed. Reason: x"),
    ("card lost", "[PID: 389] Device_Absent/Abnormal(EL0001): Device not found or invalid."),
    ("card lost", "wait for compute device to finish failed, runtime result = 507010.[FUNC:ReportCallError]"),
    ("card lost", "Device[1] lost heartbeat.[FUNC:SyncTask][FILE:direct_hwts_engine.cc][LINE:407]"),
    ("card has a memory fault", "NPU function error: HBM MULTI BIT ECC ERROR.HBM, error code is 507054"),
    ("data came too late", "RuntimeError: For 'GetNext', get data timeout. Queue name: e008c6e6-0088-11ee-974c"),
    (
        "data came too late",
        "DumpTaskExceptionInfo] Dump node (Default/GetNext-op18) task error input/output data to: x",
    ),
    ("AI core fault", "there is an exception of fftsplus aivector error, core id is 40, error code = 0"),
    ("AI core fault", "Kernel task happen error, retCode=0x26, [aicore exception].[FUNC:PreCheckTaskErr]"),
    ("AI core fault", "ACL stream synchronize failed, error code:507035"),
    ("AI core timed out", "rtStreamSynchronize execute failed, reason=[vector core timeout][FUNC:FuncErrorReason]"),
    ("AI CPU fault", "[Error]: The aicpu execution is abnormal."),
    ("AI CPU fault", "wait for compute device to finish failed, runtime result = 507018.[FUNC:ReportCallError]"),
    ("card occupied", "Resource_Busy(EL0005): The resources are busy."),
    ("device out of memory", "TotalUsedMemStatistics : 2 and plus alloc size : 3 is more than total mem size : 4."),
    ("device out of memory", "Call rtMalloc fail, purpose: page caching, type = 2, size:3221291008, device_id:0"),
    ("device out of memory", "HCCL function error: HcclAllreduce, error code is 24"),
    ("device out of memory", "EE9999: rtMalloc execute failed, reason=[driver error:out of memory]"),
    ("card cannot be opened", "open /dev/davinci3 failed: Permission denied"),
    ("card does not start", "NPU function error: c10_npu::SetDevice(device_id_), error code is 507033"),
    ("resources of a card used up", "EL0009: The stream resources are insufficient."),
    ("computation overflowed", "Call runtime aclrtSynchronizeStreamWithTimeout, the stream get overflow."),
    ("operator cannot be compiled", "E90003: [PID: 9038] Compile operator failed, cause: Template constraint"),
    ("operator cannot be compiled", "EZ3002: Optype [TransData] of Ops kernel [AIcoreEngine] is unsupported."),
    ("versions do not fit", "OSError: libmindspore_ops.so: undefined symbol: aclrtGetVersion"),
    ("versions do not fit", "/lib64/libstdc++.so.6: version `GLIBCXX_3.4.30' not found"),
    ("driver broke", "rtGetDevMsg execute failed, reason=[driver error:internal error][FUNC:FuncErrorReason]"),
    ("driver broke", "RuntimeError: Call aclrtMemcpy failed, ret: 507899"),
    ("operator failed", "Launch kernel failed: Bprop/gradDense/Reshape-op278"),
    ("stream failed", "[ERROR] DEVICE [ascend_stream_manager.cc:194] Call runtime rtStreamSynchronize error."),
    ("stream failed", "Call rt api rtStreamSynchronize failed, ret: 507011"),
    ("error inside CANN", "EE8888: Inner Error!"),
    ("another code of CANN", "Invalid_Argument(EL0003): The argument is invalid."),
    ("ranks did not connect", 'TopoDetect ERROR occur !!! fault_info["Failed to connect agent[1,3,5,7,]"]'),
    ("HCCL connection timed out", "EI9999: connected p2p timeout, timeout:600 s.local logicDevid:0,remote physic id:7"),
    (
        "HCCL connection timed out",
        "[topoinfo_exchange_agent.cc:190] topo exchange agent get socket timeout! timeout[9]",
    ),
    (
        "collective timed out",
        "EI0002: A timeout occurs when the Notify register waits for execution. Waiting peer rank: 3",
    ),
    (
        "connection to a card broke",
        "EI0013: An error CQE occurred during operator execution. Local information: server 10.0.0.1, device ID 0, "
        "device IP x. Peer information: server 10.0.0.2, device ID 1, device IP y.",
    ),
    (
        "another card named by HCCL",
        "Cluster Exception Location[IP/ID]:[10.0.0.3/5], Arrival Time:[Thu], Discoverer:[10.0.0.1/0], "
        "ExceptionType:[Heartbeat Lost Occurred], Possible Reason:1. Process has exited",
    ),
    ("crashed", "Signal: Segmentation fault (11)"),
    ("killed", "train.sh: line 4:  1064 Killed                  python train.py"),
    ("HCCL connection timed out", "Create Dest error! remoteRank[1]-remoteUserrank[1]-remoteIpAddr[192.168.1.2/0]"),
    ("AI core fault", "errorStr: The DDR address of the MTE instruction is out of range. fixp_error0 info: 0x6"),
    (
        "device out of memory",
        "[ascend][curpid: 4, 5][drv][devmm][devmm_ioctl_advise 190]<errno:12, 6> Ioctl device error!",
    ),
    ("another rank ended", "pangu: rank 5 has ended, so that rank 0 cannot go on: see the log of rank 5"),
    ("ranks did not meet", "pangu: 2 of 8 ranks of this job have not come to rank 0: [3, 5]. Look at their logs"),
    (
        "ranks did not meet",
        "pangu: rank 3 has not found rank 0: it does not listen at X. If its log shows no error, the hosts share no "
        "folder, or a firewall is between them: set output to a folder that all hosts see, or X=HOST:PORT",
    ),
    ("connection broke", "EI0012: SDMA memory copy task exception occurred. Remote rank: [unknown]."),
    ("stream timed out", "EE1002: Stream synchronize timeout. reason=[stream sync timeout]"),
    ("stream timed out", "wait for compute device to finish failed, runtime result = 107020.[FUNC:ReportCallError]"),
    ("disk full", "OSError: [Errno 122] Disk quota exceeded: 'x'"),
    ("ended by the job system", "slurmstepd: error: *** JOB 12 ON node CANCELLED AT 2026-01-01 DUE TO TIME LIMIT ***"),
    ("storage failed", "OSError: [Errno 116] Stale file handle: '/nfs/tokens/train.bin'"),
    ("too many processes", "RuntimeError: can't start new thread"),
    ("host name not known", "socket.gaierror: [Errno -2] Name or service not known"),
    ("host not reached", "OSError: [Errno 113] No route to host"),
    ("rank not registered", "[WARNING] PostProcess] This node could be redundant and is not successfully registered."),
    ("ranks did not find each other", "[WARNING] BuildCluster] Topology build timed out., retry(60/60)."),
    ("package missing", "ModuleNotFoundError: No module named 'safetensors'"),
    ("file not found", "FileNotFoundError: [Errno 2] No such file or directory: 'tokens/train.bin'"),
    ("access denied", "PermissionError: [Errno 13] Permission denied: 'runs/2b6'"),
    ("ranks lost", "[mindspore/parallel/cluster/process_entity/_api.py:431] Time out nodes are ['3']"),
    ("another process ended", "[_api.py:365] Worker process 130673 exit with exception. Error code: 1."),
]


@pytest.mark.parametrize(("name", "text"), [*RECORDED.items(), *VARIANTS])
def test_a_recorded_message_is_recognised(name: str, text: str, tmp_path: Path) -> None:
    log = tmp_path / "rank_3.log"
    log.write_text(f"step 1/20 | loss 6.1\n{text}\nand more\n", encoding="utf-8")
    for finding in (find_failure(log.read_text(encoding="utf-8")), read_log(log).finding):
        assert finding is not None
        assert finding.failure.name == name
        assert finding.line and finding.line in text
        cause, fix = finding.words(Origin("rank 3", "node-1", "5"))
        assert cause and fix and not set("{}") & {*cause, *fix}


def test_every_row_has_a_recorded_message() -> None:
    assert {row.name for row in KNOWN_FAILURES} == {*RECORDED, *(name for name, _ in VARIANTS)}


def test_what_a_healthy_job_prints_is_no_failure(tmp_path: Path) -> None:
    assert find_failure(HEALTHY) is None
    log = tmp_path / "rank_0.log"
    log.write_text(HEALTHY, encoding="utf-8")
    assert read_log(log).finding is None


def test_the_lost_rank_is_named() -> None:
    finding = find_failure(RECORDED["rank lost"])
    assert finding is not None
    assert all(re.search(r"\brank 1\b", words) for words in finding.words(Origin()))


def test_our_own_message_is_the_cause() -> None:
    finding = find_failure(RECORDED["refused by pangu"])
    assert finding is not None and finding.words(Origin())[0].startswith("tokens/train.idx: no such token file")


def test_rank_host_and_card_are_named() -> None:
    finding = find_failure("EJ0002: The network port is down.")
    assert finding is not None
    cause, fix = finding.words(Origin("rank 3", "node-1", "5"))
    assert "card 5 of node-1" in cause and "hccn_tool -i 5 -link -g` on node-1" in fix
    cause, fix = finding.words(Origin("rank 3"))
    assert "the card of rank 3" in cause and "hccn_tool -i CARD -link -g` on the host of rank 3" in fix


def _shown(row: KnownFailure) -> tuple[str, str]:
    """A row of the manual: with what every message has instead of what one of them has."""
    names = re.findall(r"\(\?P<(\w+)>", row.pattern)
    cause, fix = Match(row, Line(1, ""), dict.fromkeys(names, "…")).words(Origin())
    return cause, fix


def test_the_table_of_the_manual_is_this_one() -> None:
    manual = (Path(__file__).parents[3] / "docs" / "failures.md").read_text(encoding="utf-8")
    rows = [(row.name, *_shown(row)) for row in KNOWN_FAILURES]
    for row in (*rows, *((name, *words) for name, words in SIGNALS.items())):
        assert f"| {' | '.join(row)} |" in manual
