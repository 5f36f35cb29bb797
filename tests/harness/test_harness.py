"""lm-evaluation-harness on the fixtures of all tasks: its numbers are those of `pangu evaluate`, item by item."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import lm_eval
import pytest
from lm_eval.api.instance import Instance
from lm_eval.models.dummy import DummyLM
from lm_eval.tasks import TaskManager
from tests.harness.conftest import Project

from pangu_alpha.cli.evaluate_harness import with_defaults
from pangu_alpha.errors import ConfigError, DataError
from pangu_alpha.evaluation.tasks.catalogue import TASKS
from pangu_alpha.evaluation.tasks.examples import MAX_EXAMPLES
from pangu_alpha.evaluation.tasks.measure import make_plans, run_plan
from pangu_alpha.evaluation.tasks.network import NetworkScorer
from pangu_alpha.evaluation.tasks.results import read_answers, summarise
from pangu_alpha.harness.files import FOLDER, task_files
from pangu_alpha.harness.model import PanguLM, TokenSum

NAMES = {"mean": "acc_mean", "sum": "acc"}


@pytest.fixture(scope="module")
def model(project: Project) -> PanguLM:
    return PanguLM(checkpoint=str(project.run))


def evaluate(model: Any, project: Project, tasks: list[str], number: int | None, **metadata: Any) -> dict[str, Any]:
    manager = TaskManager(
        include_path=str(FOLDER), include_defaults=False, metadata={"data": str(project.data), **metadata}
    )
    names: list[Any] = [f"pangu_{name}" for name in tasks]
    found = lm_eval.simple_evaluate(
        model=model, tasks=names, num_fewshot=number, task_manager=manager, bootstrap_iters=0
    )
    assert found is not None
    return {name.removeprefix("pangu_"): samples for name, samples in found["samples"].items()}


def our_answers(model: PanguLM, project: Project, name: str, shots: Any, folder: Path) -> dict[str, Any]:
    scorer = model._scorer
    assert isinstance(scorer, NetworkScorer)
    (plan,) = make_plans(TASKS[name], project.data, [shots], 1, 1, None)
    run_plan(plan, scorer, folder)
    lines = (folder / "answers" / plan.file).read_text(encoding="utf-8").splitlines()[1:]
    return {record["id"]: record for record in map(json.loads, lines)}


def require_same(samples: list[dict[str, Any]], ours: dict[str, Any]) -> None:
    assert {sample["doc"]["id"] for sample in samples} == set(ours)
    for sample in samples:
        record = ours[sample["doc"]["id"]]
        if "continuation" in record:
            assert {name: sample[name] for name in record["metrics"]} == record["metrics"]
            continue
        nats = [-float(found) for found, _ in sample["filtered_resps"]]
        assert nats == pytest.approx(record["nats"], abs=1e-3)
        assert [found.num_tokens for found, _ in sample["filtered_resps"]] == record["tokens"]
        assert all(sample[NAMES.get(name, name)] == value for name, value in record["metrics"].items())


@pytest.mark.parametrize("shots", [0, 1])
def test_every_task_has_our_own_numbers(shots: int, model: PanguLM, project: Project, tmp_path: Path) -> None:
    samples = evaluate(model, project, list(TASKS), shots, checkpoint=str(project.run))
    assert set(samples) == set(TASKS)
    for name in TASKS:
        require_same(samples[name], our_answers(model, project, name, str(shots), tmp_path))


@pytest.mark.parametrize("name", ["c3", "cmrc2018", "cmnli"])
def test_so_it_has_with_few_shots(name: str, model: PanguLM, project: Project, tmp_path: Path) -> None:
    """What has no room is left out alike."""
    ours = our_answers(model, project, name, "few", tmp_path)
    for number, more in ((TASKS[name].few or MAX_EXAMPLES, {}), (None, {"shots": "few"})):
        samples = evaluate(model, project, [name], number, checkpoint=str(project.run), **more)
        require_same(samples[name], ours)


def test_metadata_set_what_is_asked(model: PanguLM, project: Project) -> None:
    (samples,) = evaluate(model, project, ["tnews"], 0, **{"tnews.num_choices": 0, "c3.split": "test"}).values()
    assert len(samples[0]["doc"]["choices"]) == 15
    one, other = (evaluate(model, project, ["tnews"], 0, seed=seed)["tnews"] for seed in (1, 2))
    assert [sample["doc"]["choices"] for sample in one] != [sample["doc"]["choices"] for sample in other]
    for wrong in ({"tnews.choices": 0}, {"shots": 3}, {"seed": "x"}):
        with pytest.raises(ConfigError):
            evaluate(model, project, ["tnews"], 0, **wrong)


def test_choices_that_go_to_one_item_each(model: PanguLM, project: Project, tmp_path: Path) -> None:
    ours = our_answers(model, project, "cmrc2019", "0", tmp_path)
    (wanted,) = (one.value for one in summarise(read_answers(tmp_path)) if one.metric == "one_to_one")
    manager = TaskManager(
        include_path=str(FOLDER), include_defaults=False,
        metadata={"data": str(project.data), "checkpoint": str(project.run)},
    )  # fmt: skip
    found = lm_eval.simple_evaluate(model=model, tasks=["pangu_cmrc2019"], task_manager=manager, bootstrap_iters=0)
    assert found is not None and len(ours) == 8
    assert 100 * found["results"]["pangu_cmrc2019"]["acc_one_to_one,none"] == pytest.approx(wanted)


def test_another_model_is_asked_the_same(model: PanguLM, project: Project) -> None:
    samples = evaluate(DummyLM(), project, list(TASKS), 0)
    ours = evaluate(model, project, ["c3", "cmrc2018"], 0)
    for name in ours:
        assert [one["arguments"] for one in samples[name]] == [one["arguments"] for one in ours[name]]
    assert "acc_mean" not in samples["c3"][0] and "acc_norm" in samples["c3"][0]
    assert "perplexity" not in samples["wplc"][0] and "word_perplexity" in samples["wplc"][0]
    (given, scored), *_ = samples["c3"][0]["arguments"]
    assert given.endswith("\n该答案来自对话: ") and scored.startswith("男：")  # no space of the harness's between them


def test_rolling_is_the_perplexity_of_pangu_evaluate(model: PanguLM, project: Project) -> None:
    done = project.python(
        "pangu_alpha.cli.main",
        "evaluate",
        "perplexity",
        "--checkpoint",
        "run",
        "--input",
        "text.jsonl",
        "--json",
        "p.json",
    )
    assert done.returncode == 0, done.stderr
    wanted = json.loads((project.folder / "p.json").read_text())
    texts = [json.loads(line)["text"] for line in project.text.read_text(encoding="utf-8").splitlines()]
    assert wanted["tokens"] > 4 * 160  # several windows
    requests = [
        Instance("loglikelihood_rolling", {}, (text,), number, ("own", number, 1)) for number, text in enumerate(texts)
    ]
    assert -sum(model.loglikelihood_rolling(requests)) == pytest.approx(wanted["loss"] * wanted["tokens"], rel=1e-5)
    without_end = PanguLM(checkpoint=str(project.run), end_of_document=False)
    assert sum(without_end.loglikelihood_rolling(requests)) > sum(model.loglikelihood_rolling(requests))


def request(context: str, continuation: Any, kind: str = "loglikelihood") -> Instance:
    return Instance(kind, {}, (context, continuation), 0, ("own", 0, 1))  # type: ignore[arg-type]


def test_order_and_company_change_nothing(model: PanguLM) -> None:
    asked = [request("老虎住在", "河边。"), request("", "狐狸"), request("老虎住在河", "边。"), request("问：", "1234")]
    together = model.loglikelihood(asked)
    alone = [model.loglikelihood([one])[0] for one in reversed(asked)]
    assert [float(found) for found, _ in reversed(alone)] == pytest.approx(
        [float(found) for found, _ in together], abs=1e-4
    )


def test_texts_end_at_a_stop_and_depend_on_the_question_alone(model: PanguLM) -> None:
    drawn = {"until": ["。", "\n"], "max_gen_toks": 12, "do_sample": True, "temperature": 1.0, "top_p": 0.9}
    likeliest = {"until": [], "max_gen_toks": 5}
    asked = [
        request("从前", drawn, "generate_until"),
        request("从前", likeliest, "generate_until"),
        request("老虎", drawn, "generate_until"),
    ]
    texts = model.generate_until(asked)
    assert not any(stop in text for text in (texts[0], texts[2]) for stop in "。\n")
    assert [model.generate_until([one])[0] for one in asked] == texts


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "checkpoint=PATH"),
        ({"checkpoint": "nowhere"}, "no checkpoint at nowhere"),
        ({"checkpoint": "run", "dtype": "float16"}, "no argument dtype"),
        ({"checkpoint": "run", "batch_size": "auto"}, "batch_size is auto"),
    ],
)
def test_wrong_arguments_are_sentences(arguments: dict[str, Any], said: str, project: Project) -> None:
    where = {"checkpoint": str(project.folder / "run")} if arguments.get("checkpoint") == "run" else {}
    with pytest.raises(Exception, match=said) as found:
        PanguLM(**{**arguments, **where})
    assert type(found.value).__module__ == "pangu_alpha.errors"


def test_what_cannot_be_computed_is_said(model: PanguLM) -> None:
    with pytest.raises(ConfigError, match="cannot generate with num_beams"):
        model.generate_until([request("从前", {"num_beams": 4}, "generate_until")])
    with pytest.raises(ConfigError, match="leave no room"):
        model.generate_until([request("从前", {"max_gen_toks": 160}, "generate_until")])
    with pytest.raises(DataError, match="nothing is left to score"):
        model.loglikelihood([request("从前", "")])
    with pytest.raises(DataError, match="tokens, but the network sees 160"):
        model.loglikelihood([request("", "从前有座山" * 200)])


def test_a_long_context_is_cut_at_its_beginning(model: PanguLM) -> None:
    (long,), (short,) = (model.loglikelihood([request(text, "老虎")]) for text in ("从前有座山，" * 200, "山，"))
    assert long[0].num_tokens == short[0].num_tokens  # type: ignore[attr-defined]


def test_choices_of_other_lengths_after_a_long_context_are_scored_as_alone(model: PanguLM) -> None:
    asked = [request("从前有座山，" * 100, choice) for choice in ("老虎", "一只很老的狐狸和许多兔子", "山羊")]
    alone = [model.loglikelihood([one])[0][0] for one in asked]
    together = [found for found, _ in model.loglikelihood(asked)]
    assert [float(one) for one in together] == pytest.approx([float(one) for one in alone], abs=1e-3)
    assert [one.num_tokens for one in together] == [one.num_tokens for one in alone]  # type: ignore[attr-defined]


@pytest.mark.parametrize("wrong", [{"temperature": "warm"}, {"do_sample": "false"}, {"until": [1]}])
def test_wrong_ways_to_generate_are_sentences(wrong: dict[str, Any], model: PanguLM) -> None:
    with pytest.raises(ConfigError):
        model.generate_until([request("从前", {"max_gen_toks": 2, **wrong}, "generate_until")])


def test_the_command_works_offline_and_says_what_is_missing(project: Project) -> None:
    asked = (
        "pangu_alpha.cli.main",
        "evaluate",
        "harness",
        "--model_args",
        "checkpoint=run",
        "--tasks",
        "pangu_c3",
        "--limit",
        "2",
    )
    done = project.python(*asked, "--metadata", "data=data_sets", "--output_path", "out")
    assert done.returncode == 0 and "acc_mean" in done.stdout, done.stderr
    assert "Tasks" in done.stdout and "Metric" in done.stdout  # the head of the table
    done = project.python(*asked)
    assert done.returncode == 2 and "--metadata data=DIR" in done.stderr.splitlines()[-1], done.stderr
    assert "Traceback" not in done.stderr


def test_defaults_give_way() -> None:
    ours = ["--model", "pangu", "--include_path", str(FOLDER)]
    assert with_defaults(["--tasks", "pangu_c3"]) == ["run", "--tasks", "pangu_c3", *ours]
    assert with_defaults(["run", "-M", "hf", "--include_path=x"]) == ["run", "-M", "hf", "--include_path=x"]
    assert with_defaults(["-C", "own.yaml"]) == ["run", "-C", "own.yaml", *ours[2:]]
    assert with_defaults(["ls", "tasks"]) == ["ls", "tasks", *ours[2:]]


def test_the_files_are_those_of_the_catalogue() -> None:
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()} == task_files()


def test_a_sum_remembers_its_tokens_in_the_cache() -> None:
    found = pickle.loads(pickle.dumps(TokenSum(3.5, 7)))
    assert (found, found.num_tokens) == (-3.5, 7)
