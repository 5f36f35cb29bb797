"""A task of the paper as a task of lm-evaluation-harness, for any of its models.

Files, templates, worked examples, wrong choices and measures are those of `pangu evaluate tasks`. What a model must
say for the paper's `mean` is the number of tokens that it has scored; the model `pangu` does, and others get `acc` (the
sum) and `acc_norm` (by characters), as in the harness's own tasks.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean
from lm_eval.api.task import Task as HarnessTask
from lm_eval.api.task import TaskConfig

from pangu_alpha.checkpoint import load_from
from pangu_alpha.errors import ConfigError
from pangu_alpha.evaluation.tasks.catalogue import choose_tasks
from pangu_alpha.evaluation.tasks.examples import MAX_EXAMPLES
from pangu_alpha.evaluation.tasks.measure import Plan, judge, make_plan
from pangu_alpha.evaluation.tasks.results import one_to_one
from pangu_alpha.evaluation.tasks.task import Item, Task
from pangu_alpha.evaluation.tasks.wording import ask, fill
from pangu_alpha.tokenizer import Tokenizer, load_tokenizer

DATA = "PANGU_ALPHA_TASK_DATA"
"""Environment variable that names the folder of the data sets, where the metadata does not."""
Doc = dict[str, Any]


class PanguTask(HarnessTask):
    """Made by the harness from a file of `task_files/`, whose `metadata` names the task.

    More of `metadata`, which `--metadata` and `--model_args` add to: `data`, the folder of the data sets; `seed`, of
    examples and wrong choices (1); `shots: few`, as many examples as the task has by itself; `TASK.FIELD`, settings of
    tasks; `checkpoint` and `tokenizer`, by which prompts are made to fit the network's window as in `pangu evaluate
    tasks`. Without these the model cuts them at their beginning.
    """

    VERSION = 1.0

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Raises:
        ConfigError: no folder of data sets is named, or a setting is wrong.
        """
        metadata = dict(config.get("metadata") or {})
        name = metadata["task"]
        settings = [f"{key}={value}" for key, value in metadata.items() if key.startswith(f"{name}.")]
        self.task: Task = choose_tasks([name], settings)[0]
        if metadata.get("shots", "few") != "few":
            raise ConfigError(f"--metadata shots={metadata['shots']}: it can be few; numbers are --num_fewshot's")
        self.OUTPUT_TYPE = "generate_until" if self.task.method == "generation" else "multiple_choice"
        self._config = TaskConfig(
            task=config["task"],
            output_type=self.OUTPUT_TYPE,
            target_delimiter="",
            fewshot_delimiter=self.task.separator,
            generation_kwargs=_decoding(self.task) if self.OUTPUT_TYPE == "generate_until" else None,
            metadata={**metadata, "version": self.VERSION},
            num_fewshot=(self.task.few or MAX_EXAMPLES) if "shots" in metadata else None,
        )
        self._training_docs = self._fewshot_docs = self._instances = None
        from lm_eval.filters import build_filter_ensemble

        self._filters = [build_filter_ensemble("none", [["take_first", None]])]
        data = metadata.get("data") or os.environ.get(DATA)
        if not data:
            raise ConfigError(
                f"{config['task']} needs the folder of its data sets: --metadata data=DIR, or {DATA}=DIR in the "
                "environment"
            )
        if not str(metadata.get("seed", 1)).isdecimal():
            raise ConfigError(f"--metadata seed={metadata['seed']}: it must be a whole number")
        self._data, self._seed = Path(str(data)), int(metadata.get("seed", 1))
        self._plans: dict[int, Plan] = {}

    def set_fewshot_seed(self, seed: int | None = None) -> None:
        """Nothing: examples come from the seed of the metadata, so that they are those of `pangu evaluate tasks`."""

    @property
    def plan(self) -> Plan:
        """What is asked, with the examples that the harness wants now."""
        number = self.config.num_fewshot or 0
        if number not in self._plans:
            few = self.task.few or MAX_EXAMPLES
            wanted = self.task.num_shots("few") if number == few else number
            self._plans[number] = make_plan(self.task, self._data, wanted, self._seed)
        return self._plans[number]

    @cached_property
    def network(self) -> tuple[Tokenizer, int] | None:
        """The tokenizer of the network that answers, and how many tokens it sees; None where it is another one."""
        metadata = self.config.metadata
        if "checkpoint" not in metadata:
            return None
        settings = load_from(Path(metadata["checkpoint"]), lambda found: found.of_run("config"), lambda line: None)
        path = metadata.get("tokenizer") or settings["tokenizer"]
        if path is None:
            raise ConfigError(
                f"the settings in {metadata['checkpoint']} name no tokenizer: --model_args tokenizer=PATH"
            )
        return load_tokenizer(Path(path)), settings["model"]["seq_length"]

    def has_training_docs(self) -> bool:
        """No: examples are worked out here."""
        return False

    def has_validation_docs(self) -> bool:
        """No: the items are those of `test_docs`, whatever their split is called."""
        return False

    def has_test_docs(self) -> bool:
        """Yes."""
        return True

    def test_docs(self) -> list[Doc]:
        """The items, as JSON has them."""
        return [
            {
                "id": item.id,
                "group": item.group,
                "fields": dict(item.fields),
                "choices": list(item.choices),
                "answer": item.answer,
                "references": list(item.references),
            }
            for item in self.plan.items
        ]

    def fewshot_context(self, doc: Doc, num_fewshot: int, **others: object) -> str:
        """All worked examples of an item. Others of the harness's settings, chat templates for example, are refused."""
        if any(others.get(name) for name in ("system_instruction", "apply_chat_template")):
            raise ConfigError(f"{self.config.task} asks base models: no chat template, no system instruction")
        return "".join(self._examples(doc))

    def _examples(self, doc: Doc) -> list[str]:
        return self.plan.examples.get(doc["group"] if self.task.shots_by_group else "", [])

    def construct_requests(self, doc: Doc, ctx: str, metadata: tuple[Any, ...], **_: object) -> list[Instance]:
        """A request for each candidate, or for the one continuation."""
        texts = self._texts(doc, ctx)
        if self.OUTPUT_TYPE == "generate_until":
            # Only the model pangu draws from a seed of the task; to others the word is unknown.
            seed = {"seed": self._seed} if self.network is not None else {}
            arguments: list[tuple[Any, ...]] = [(texts[0][0], {**self.config.generation_kwargs, **seed})]
        else:
            arguments = list(texts)
        kind = "generate_until" if self.OUTPUT_TYPE == "generate_until" else "loglikelihood"
        return [
            Instance(request_type=kind, doc=doc, arguments=one, idx=number, metadata=metadata)
            for number, one in enumerate(arguments)
        ]

    def _texts(self, doc: Doc, examples: str) -> list[tuple[str, str]]:
        """For each candidate what is given, and what is scored."""
        item = _item(doc)
        if self.network is not None:
            tokenizer, window = self.network
            question = ask(self.task, item, self._examples(doc), tokenizer, window)
            kept = "".join(self._examples(doc)[: question.num_shots])
            return [(kept + candidate.context, candidate.scored) for candidate in question.candidates]
        choices = item.choices or (item.truth,)
        return [
            (examples + fill(self.task.context, item, choice), fill(self.task.scored, item, choice))
            for choice in (choices if self.task.method != "generation" else ("",))
        ]

    def doc_to_text(self, doc: Doc) -> str:
        """What stands before the answer, or before the first candidate."""
        return self._texts(doc, "")[0][0]

    def doc_to_target(self, doc: Doc) -> str:
        """The truth."""
        return _item(doc).truth

    def process_results(self, doc: Doc, results: Sequence[Any]) -> dict[str, Any]:
        """What an item is worth in each measure."""
        if self.task.method == "generation":
            answer = results[0].partition(self.task.stop)[0].strip() if self.task.stop else results[0].strip()
            return judge(self.task.metric, answer, doc["references"])
        # Rounded as in the answers of `pangu evaluate tasks`, before they are compared.
        nats = [round(-float(found), 4) for found, _ in results]
        tokens = [getattr(found, "num_tokens", None) for found, _ in results]
        if self.task.method == "perplexity":
            perplexity = {} if tokens[0] is None else {"perplexity": (nats[0], tokens[0])}
            return {**perplexity, "word_perplexity": (nats[0], 1), "greedy": float(results[0][1])}
        item = _item(doc)
        lengths = [len(fill(self.task.scored, item, choice)) for choice in item.choices]
        by_tokens = {} if None in tokens else {"acc_mean": _is_right(results, tokens, doc)}
        return {
            **by_tokens,
            **self._one_to_one(results, tokens, doc),
            "acc": float(nats.index(min(nats)) == doc["answer"]),
            "acc_norm": _is_right(results, lengths, doc),
        }

    def _one_to_one(self, results: Sequence[Any], tokens: Sequence[Any], doc: Doc) -> dict[str, Any]:
        """What `acc_one_to_one` is computed of, where a group's items share their choices."""
        if not self.task.one_to_one or None in tokens:
            return {}
        record = {"group": doc["group"], "mean": _means(results, tokens), "answer": doc["answer"]}
        return {"acc_one_to_one": record}

    def aggregation(self) -> dict[str, Callable[..., float]]:
        """How the items of each measure come together."""
        special = {"perplexity": _perplexity, "word_perplexity": _perplexity, "acc_one_to_one": _share_of_one_to_one}
        return {name: special.get(name, mean) for name in self._measures()}

    def higher_is_better(self) -> dict[str, bool]:
        """Everything but a perplexity."""
        return {name: "perplexity" not in name for name in self._measures()}

    def _measures(self) -> tuple[str, ...]:
        if self.task.method == "perplexity":
            return ("perplexity", "word_perplexity", "greedy")
        if self.task.method == "choice":
            return ("acc_mean", "acc", "acc_norm", *(["acc_one_to_one"] if self.task.one_to_one else []))
        return tuple(judge(self.task.metric, "", [""]))


def _decoding(task: Task) -> dict[str, Any]:
    """How the paper continues a prompt, in the harness's words."""
    found: dict[str, Any] = {
        "until": [task.stop],
        "max_gen_toks": task.max_new_tokens,
        "do_sample": task.temperature > 0,
    }
    if task.temperature > 0:
        found["temperature"] = task.temperature
        found |= {"top_k": task.top_k} if task.top_k else {}
        found |= {"top_p": task.top_p} if task.top_p < 1 else {}
    return found


def _item(doc: Doc) -> Item:
    choices, references = tuple(doc["choices"]), tuple(doc["references"])
    return Item(doc["id"], doc["fields"], choices, doc["answer"], references, doc["group"])


def _means(results: Sequence[Any], lengths: Sequence[Any]) -> list[float]:
    return [round(-float(found) / length, 6) for (found, _), length in zip(results, lengths, strict=True)]


def _is_right(results: Sequence[Any], lengths: Sequence[Any], doc: Doc) -> float:
    means = _means(results, lengths)
    return float(means.index(min(means)) == doc["answer"])


def _share_of_one_to_one(records: Sequence[Doc]) -> float:
    return mean(one_to_one(records))


def _perplexity(pairs: Sequence[tuple[float, int]]) -> float:
    """Of nats and numbers of tokens."""
    return math.exp(min(sum(nats for nats, _ in pairs) / sum(number for _, number in pairs), 700.0))
