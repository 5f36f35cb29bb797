"""Real programs of a tiny network, compiled for 8 simulated devices; kept in the user's cache between runs."""

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pangu_alpha.compiler import programs
from pangu_alpha.compiler.programs import CompiledRank, compile_ranks, stage_ranks
from pangu_alpha.compiler.standin import simulated_environment
from pangu_alpha.config import RunConfig
from pangu_alpha.config.load import build_config, load_config
from pangu_alpha.errors import CompileError, ConfigError
from pangu_alpha.files import seal
from pangu_alpha.program.coverage import Cover
from pangu_alpha.program.graph import read_program
from pangu_alpha.program.report import RankReport, check_held, report_ranks
from pangu_alpha.program.traffic import collectives
from pangu_alpha.topology.mesh import Mesh

TINY = {
    "model": {
        "num_layers": 2, "hidden_size": 32, "num_heads": 2, "vocab_size": 65, "seq_length": 16,
        "final_norm": "before_query_layer", "dropout": 0.0, "compute_dtype": "float32",
    },
    "train": {"steps": 10, "batch_size": 4, "num_micro_batches": 2},
    "schedule": {"learning_rate": 1e-3, "end_learning_rate": 1e-4, "warmup_steps": 2, "decay_steps": 10},
    "parallel": {"dp": 2, "mp": 2, "pp": 2, "optimizer_sharding": True, "rematerialisation": "whole"},
}  # fmt: skip
DEVICE = 32 << 30


def tiny(*overrides: str) -> RunConfig:
    return build_config(TINY, overrides)


@pytest.fixture(scope="module")
def stages() -> list[CompiledRank]:
    return compile_ranks(tiny(), stage_ranks(Mesh.of(tiny().parallel)), level=1)


@pytest.fixture(scope="module")
def reports(stages: list[CompiledRank]) -> list[RankReport]:
    return report_ranks(tiny(), stages, DEVICE)


def test_every_stage_compiles_with_the_implied_collectives(reports: list[RankReport]) -> None:
    assert [(report.rank, report.stage) for report in reports] == [(0, 0), (4, 1)]
    assert [report.problems for report in reports] == [(), ()]
    check_held(tiny(), reports)


def test_a_report_holds_what_was_measured(reports: list[RankReport]) -> None:
    for report in reports:
        assert report.measured.seconds > 1.0
        assert 0.3 < report.measured.host_memory / 2**30 < 3.0
        # More than what is kept from step to step, and less than all gradients and activations on top of it.
        assert report.measured.device_memory is not None
        assert report.state_bytes < report.measured.device_memory < 20 * report.state_bytes
        assert 300 < report.num_nodes < 2000


def test_slices_cover_each_parameter(reports: list[RankReport]) -> None:
    first, last = (report.covers for report in reports)
    assert first["embedding.word.table"] == last["embedding.word.table"] == Cover(num_parts=2, num_copies=2)
    assert first["layers.0.attention.query.weight"] == Cover(num_parts=4, num_copies=1)
    assert last["adam_v.query_layer.feed_forward.contract.bias"] == Cover(num_parts=1, num_copies=4)
    assert "final_norm.gamma" not in first and "embedding.position.table" not in last


def test_a_sequence_parallel_look_up_scatters_its_sum_and_gathers_the_gradient() -> None:
    config = tiny("parallel.sequence_parallel=true")
    mesh, (first,) = Mesh.of(config.parallel), compile_ranks(config, [0])
    found = Counter[tuple[str, str, str]]()
    for item in collectives(read_program(first.program), mesh, 0):
        if item.axes == ("mp",):
            found[item.phase, item.kind, item.place if item.phase == "forward" else ""] += item.count
    assert found["forward", "ReduceScatter", "embedding.word"] == 2  # one a micro-batch
    assert found["backward", "AllGather", ""] == 2 * (1 + 2)  # and two sums in the stage's one layer
    assert not any(kind == "AllReduce" for _, kind, _ in found)


def test_a_stage_that_forgets_a_tensor_is_found(reports: list[RankReport]) -> None:
    with pytest.raises(CompileError, match=r"no stage holds layers\.0\."):
        check_held(tiny(), [reports[1], _without_layer(reports[0])])


def _without_layer(report: RankReport) -> RankReport:
    covers = {name: cover for name, cover in report.covers.items() if "layers.0." not in name}
    return RankReport(**{**vars(report), "covers": covers})


def test_a_small_device_is_too_small(stages: list[CompiledRank]) -> None:
    (problem,) = report_ranks(tiny(), stages[:1], device_memory=1 << 16)[0].problems
    assert "GiB of device memory, and the device has 0.0. Ways out, the cheapest first: set " in problem
    assert "rematerialisation" not in problem and "optimizer_sharding" not in problem  # both are set


def test_the_second_time_nothing_is_compiled(stages: list[CompiledRank], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    assert compile_ranks(tiny("output=elsewhere", "train.checkpoint_every=7"), [0, 4], level=1) == stages


@pytest.fixture
def damaged_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replaces the sharding table in the processes that compile, and gives them a cache of their own."""

    def damage(statement: str) -> None:
        (tmp_path / "sitecustomize.py").write_text(
            "import pangu_alpha.parallel.table as table\n"
            "original = table.sharding_table\n"
            "def damaged(sequence_parallel):\n"
            "    rows = original(sequence_parallel)\n"
            f"    {statement}\n"
            "    return rows\n"
            "table.sharding_table = damaged\n"
        )
        standin = simulated_environment(0, 1, 0)  # built before the cache is moved
        cache = tmp_path / "cache" / "pangu_alpha"
        cache.mkdir(parents=True)
        (cache / "standin").symlink_to(Path(standin["ASCEND_HOME_PATH"]).parents[1])
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return damage


def test_a_wrong_row_of_the_table_is_named_by_its_operator(damaged_table: Callable[[str], None]) -> None:
    damaged_table("rows['layer.feed_forward.gelu.gelu'] = table.PrimitiveRow((('dp', None),))")
    config = tiny("parallel.dp=1", "parallel.pp=1", "parallel.optimizer_sharding=false", "train.num_micro_batches=1")
    (report,) = report_ranks(config, compile_ranks(config, [1]), DEVICE)
    assert any(
        "over mp in the forward part at layer.feed_forward" in problem
        and "not implied by the sharding table" in problem
        for problem in report.problems
    ), report.problems


def test_a_refused_program_comes_with_the_compilers_words(damaged_table: Callable[[str], None]) -> None:
    damaged_table("rows['layer.feed_forward.gelu.gelu'] = table.PrimitiveRow((('dp', 'mp', None),))")
    with pytest.raises(
        CompileError, match=r"(?s)MindSpore does not compile rank 0:.*GeLU.*strategy len: 3.*\.log"
    ) as error:
        compile_ranks(tiny("parallel.pp=1", "parallel.optimizer_sharding=false"), [0])
    log = Path(str(error.value).rpartition(" ")[2])
    assert "Error" in log.read_text(encoding="utf-8")
    log.unlink()
    programs = Path(os.environ["XDG_CACHE_HOME"]) / "pangu_alpha" / "programs"
    assert list(programs.glob("*/*")) == [] and list(programs.glob("*/.*")) == []


class Workshop:
    """Stands in for the compilers: each of their processes ends after a few looks at it."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.running = 0
        self.most_running = 0
        self.stopped: list[int] = []
        self.fails: int | None = None
        self.config: RunConfig | None = None

    def __call__(self, config: RunConfig, level: int, with_validation: bool = False) -> "Workshop":
        self.config = config
        return self

    def __enter__(self) -> "Workshop":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self, rank: int, folder: Path) -> "Worker":
        self.started.append(rank)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        return Worker(self, rank, folder)


class Worker:
    def __init__(self, workshop: Workshop, rank: int, folder: Path) -> None:
        self.workshop, self.rank, self.folder = workshop, rank, folder
        self.looks = 2

    def ended(self) -> bool:
        self.looks -= 1
        return self.looks <= 0

    def keep(self, code: str) -> None:
        self.workshop.running -= 1
        if self.rank == self.workshop.fails:
            raise CompileError(f"rank {self.rank} refused")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        measured = {
            "build_seconds": 1,
            "compile_seconds": 2,
            "plan_seconds": 0,
            "host_memory": 3,
            "device_memory": None,
        }
        (self.folder / "measured.json").write_text(json.dumps(measured))
        (self.folder / "program.mindir").write_bytes(b"program")
        seal(self.folder, code)

    def stop(self) -> None:
        self.workshop.stopped.append(self.rank)


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    made = Workshop()
    monkeypatch.setattr(programs, "Compilers", made)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return made


def test_no_more_compilers_than_asked_for(workshop: Workshop) -> None:
    found = compile_ranks(tiny(), range(5), num_jobs=2)
    assert [one.rank for one in found] == workshop.started == [0, 1, 2, 3, 4]
    assert workshop.most_running == 2
    assert found[0].measured.seconds == 3


def test_only_what_is_missing_is_compiled(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    def started_by(config: RunConfig, ranks: Sequence[int]) -> list[int]:
        workshop.started.clear()
        compile_ranks(config, ranks)
        return list(workshop.started)

    assert started_by(tiny(), [0, 3]) == [0, 3]
    assert started_by(tiny("output=runs/b", "train.steps=99"), [0, 2, 3]) == [2]
    assert started_by(tiny("model.dropout=0.1"), [0]) == [0]
    seal(programs._folder(tiny(), 3, 0), "older code")
    monkeypatch.setattr(Worker, "keep", lambda self, code: None)  # what was kept stays readable
    assert started_by(tiny(), [0, 3]) == [3]


def test_the_compilers_cannot_read_what_a_kept_program_does_not_depend_on(workshop: Workshop) -> None:
    compile_ranks(tiny(), [0])
    assert workshop.config is not None and workshop.config.train.batch_size == 4
    given = workshop.config.model_dump(warnings=False)
    assert not {"output", "tokenizer", "data", "schedule", "loss_scale", "fuse_operators"} & set(given)
    assert set(given["train"]) == {"batch_size", "num_micro_batches"}
    with pytest.raises(AttributeError):
        _ = workshop.config.train.seed


@pytest.mark.parametrize("name", ["measured.json", "program.mindir", "checksums.json"])
def test_what_a_power_cut_left_of_a_program_is_made_again(workshop: Workshop, name: str) -> None:
    compile_ranks(tiny(), [0, 1])
    os.truncate(programs._folder(tiny(), 1, 0) / name, 3)
    workshop.started.clear()
    assert [one.measured.host_memory for one in compile_ranks(tiny(), [0, 1])] == [3, 3]
    assert workshop.started == [1]


def test_one_refusal_ends_the_others(workshop: Workshop) -> None:
    workshop.fails = 1
    with pytest.raises(CompileError, match="rank 1 refused"):
        compile_ranks(tiny(), range(8), num_jobs=4)
    assert workshop.stopped == [2, 3]


def test_memory_limits_the_compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "PROCESS_MEMORY", 1 << 50)
    assert programs._num_jobs() == 1
    monkeypatch.setattr(programs, "PROCESS_MEMORY", 1)
    assert programs._num_jobs() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("override", "message"),
    [("parallel.pp=2", r"num_micro_batches\(1\) < pp\(2\)"), ("parallel.pp=8", r"= 8 > num_layers\(4\)")],
)
def test_what_cannot_be_laid_on_the_stages_is_refused_before_compiling(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compile_ranks(load_config("tiny_cpu", [override]), [0])
