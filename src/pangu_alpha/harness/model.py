"""The model `pangu` of lm-evaluation-harness: a checkpoint of this project.

Where the harness and this project agree on what is asked, the numbers are those of `pangu evaluate`: texts are put into
tokens as a whole, a token is scored when it holds a character after the context, and candidates of one question with
one context are scored from the same token on.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import model_registry

from pangu_alpha.config import DeviceKind
from pangu_alpha.console import progress
from pangu_alpha.errors import ConfigError, DataError
from pangu_alpha.evaluation.tasks.measure import CHUNK
from pangu_alpha.evaluation.tasks.scorer import Score
from pangu_alpha.evaluation.tasks.wording import Candidate, first_scored, from_the_same_token
from pangu_alpha.evaluation.windows import Window, sliding_windows
from pangu_alpha.runtime.device import prepare_environment

NAME = "pangu"
DEVICES = ("cpu", "ascend", "gpu")
_DEFAULT_NEW_TOKENS = 256
"""As the harness's own models have it."""
_GENERATION = ("until", "max_gen_toks", "do_sample", "temperature", "top_k", "top_p", "seed")


class TokenSum(float):
    """A log-likelihood that knows how many tokens it is of; the harness takes it for a number."""

    num_tokens: int

    def __new__(cls, nats: float, num_tokens: int) -> TokenSum:
        """-`nats`, the sum over `num_tokens` tokens."""
        found = super().__new__(cls, -nats)
        found.num_tokens = num_tokens
        return found

    def __reduce__(self) -> tuple[type[TokenSum], tuple[float, int]]:
        """For the harness's cache."""
        return TokenSum, (-float(self), self.num_tokens)


class PanguLM(LM):
    """A network trained or imported here."""

    def __init__(
        self,
        checkpoint: str = "",
        tokenizer: str | None = None,
        device: str | None = None,
        batch_size: int | str = 8,
        seed: int = 1,
        end_of_document: bool = True,
        **others: object,
    ) -> None:
        """Load the network. What `--model_args` may say.

        Args:
            checkpoint: a step_* directory, or a run's output directory.
            tokenizer: where it is; None: where the run's settings say.
            device: cpu, ascend or gpu; anything else, as the harness's default cuda:0: where the run was.
            batch_size: continuations generated together.
            seed: of drawn text.
            end_of_document: whether rolling perplexity pays for the end of each document, as
                `pangu evaluate perplexity` does and the harness's other models do not.
            others: refused.

        Raises:
            ConfigError: an argument is unknown or out of range.
            CheckpointError: there is no checkpoint, or it is damaged.
            TokenizerError: there is no tokenizer, or it is another one than the network's.
        """
        super().__init__()
        if not checkpoint:
            raise ConfigError("the model pangu needs --model_args checkpoint=PATH")
        if others:
            allowed = "checkpoint, tokenizer, device, batch_size, seed and end_of_document"
            raise ConfigError(f"the model pangu knows no argument {', '.join(others)}: it has {allowed}")
        if not str(batch_size).isdecimal() or int(batch_size) < 1:
            raise ConfigError(f"batch_size is {batch_size}, but it must be a whole number from 1 on")
        # Before MindSpore is imported, which nothing above does: else it is several times slower.
        prepare_environment(verbose=False)
        from pangu_alpha.evaluation.tasks.network import NetworkScorer
        from pangu_alpha.evaluation.tasks.scorer import network_facts
        from pangu_alpha.inference import load_trained
        from pangu_alpha.parallel.parameters import num_parameters

        where: DeviceKind | None = device if device in DEVICES else None  # type: ignore[assignment]
        path = None if tokenizer is None else Path(tokenizer)
        model = load_trained(Path(checkpoint), path, where, fuse_operators=True)
        self._tokenizer, self._window = model.tokenizer, model.config.model.seq_length
        facts = network_facts(model.checkpoint, num_parameters(model.config.model), model.tokenizer, model.config.model)
        self._scorer = NetworkScorer(model.network, model.config.model, model.tokenizer, facts, int(batch_size))
        self._seed, self._pays_for_end = int(seed), end_of_document

    @property
    def tokenizer_name(self) -> str:
        """Tells the tokenizers apart in the harness's caches."""
        return self._tokenizer.fingerprint

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """The log-likelihood of each continuation after its context, and whether it is the likeliest one.

        Raises:
            DataError: a continuation is empty, or longer than what the network sees.
        """
        # The candidates of a question come one after the other: their common beginning is computed once.
        questions = [
            self._within_window(from_the_same_token([self._candidate(*request.args) for request in group]))
            for _, group in groupby(requests, lambda request: (request.task_name, request.doc_id))
        ]
        found = [(TokenSum(one.nats, one.num_tokens), bool(one.is_greedy)) for one in self._scores(questions)]
        for request, answer in zip(requests, found, strict=True):
            self.cache_hook.add_partial("loglikelihood", request.args, answer)
        return found  # type: ignore[return-value]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """The log-likelihood of each text, by the windows of `pangu evaluate perplexity`."""
        texts = [
            [_windowed(window) for window in self._windows(text)] for text in (request.args[0] for request in requests)
        ]
        scores = self._scores([[window] for windows in texts for window in windows])
        found = [-sum(next(scores).nats for _ in windows) for windows in texts]
        for request, answer in zip(requests, found, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, answer)
        return found

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """What follows each context, up to the first of its stops.

        Raises:
            ConfigError: a request wants what is not here, a beam search for example.
        """
        found: dict[int, str] = {}
        order = sorted(range(len(requests)), key=lambda number: repr(requests[number].args[1]))
        with progress("generating", len(requests), "texts", slow_start=True) as advance:
            for _, group in groupby(order, lambda number: repr(requests[number].args[1])):
                numbers = list(group)
                for first in range(0, len(numbers), CHUNK):
                    part = numbers[first : first + CHUNK]
                    texts = self._continue([requests[number] for number in part])
                    found.update(zip(part, texts, strict=True))
                    advance(len(part))
        return [found[number] for number in range(len(requests))]

    def _scores(self, questions: Sequence[Sequence[Candidate]]) -> Iterator[Score]:
        """Of all candidates, in order."""
        with progress("scoring", len(questions), "questions", slow_start=True) as advance:
            for first in range(0, len(questions), CHUNK):
                part = questions[first : first + CHUNK]
                for scores in self._scorer.score_candidates(part):
                    yield from scores
                advance(len(part))

    def _candidate(self, context: str, continuation: str) -> Candidate:
        ids = self._tokenizer.encode(context + continuation)
        start = first_scored(ids, context, self._tokenizer)
        if start == len(ids):
            raise DataError(f"nothing is left to score of the continuation {continuation!r:.60}")
        return Candidate(tuple(ids), start, context, continuation)

    def _within_window(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates of a question without the beginnings that have no room."""
        found = []
        for one in candidates:
            cut = max(len(one.ids) - self._window, 0)
            if cut > one.start:
                raise DataError(
                    f"the continuation {one.scored!r:.60} has {len(one.ids) - one.start} tokens, but the network sees "
                    f"{self._window}"
                )
            found.append(Candidate(one.ids[cut:], one.start - cut, one.context, one.scored))
        return found

    def _windows(self, text: str) -> Iterator[Window]:
        eod_id = self._tokenizer.eod_id
        tokens = [*self._tokenizer.encode(text), *([eod_id] if self._pays_for_end else [])]
        if tokens:
            yield from sliding_windows(tokens, eod_id, self._window, max(self._window // 2, 1))

    def _continue(self, requests: Sequence[Instance]) -> list[str]:
        """Of requests that are to be continued alike."""
        from pangu_alpha.inference import SamplingOptions

        wanted: Mapping[str, Any] = requests[0].args[1]
        if unknown := [name for name in wanted if name not in _GENERATION]:
            raise ConfigError(f"the model pangu cannot generate with {', '.join(unknown)}: {', '.join(_GENERATION)}")
        temperature = _number(wanted, "temperature", 1.0 if wanted.get("do_sample") else 0.0)
        is_drawn = wanted.get("do_sample", temperature > 0)
        until = wanted.get("until") or []
        stops = [until] if isinstance(until, str) else until
        if not isinstance(is_drawn, bool) or not all(isinstance(stop, str) for stop in stops):
            raise ConfigError(
                f"do_sample={is_drawn!r}, until={until!r}: the first is True or False, the second is text"
            )
        options = SamplingOptions(
            max_new_tokens=int(_number(wanted, "max_gen_toks", _DEFAULT_NEW_TOKENS)),
            temperature=temperature if is_drawn else 0.0,
            top_k=int(_number(wanted, "top_k", 0)),
            top_p=_number(wanted, "top_p", 1.0),
            seed=int(_number(wanted, "seed", self._seed)),
        )
        room = self._window - options.max_new_tokens
        if room < 1:
            raise ConfigError(
                f"{options.max_new_tokens} new tokens (max_gen_toks) leave no room for a context: the network sees "
                f"{self._window}"
            )
        prompts = [self._tokenizer.encode(request.args[0])[-room:] for request in requests]
        texts = self._scorer.continue_prompts(prompts, options, [_draw(request) for request in requests])
        return [_cut(text, stops) for text in texts]


def _windowed(window: Window) -> Candidate:
    """A window as a text that is scored from a token on; its inputs are its tokens but the last one."""
    if window.num_context == 0:  # the first one, whose first input is an <eod> that every candidate has before it
        return Candidate(tuple(window.labels), 0, "", "")
    return Candidate((*window.inputs, window.labels[-1]), window.num_context + 1, "", "")


def _draw(request: Instance) -> int:
    """What draws depend on: the question itself, so that they are the same in any company."""
    doc = request.doc
    name = doc["id"] if isinstance(doc, Mapping) and "id" in doc else request.args[0]
    return zlib.crc32(str(name).encode())


def _number(wanted: Mapping[str, Any], name: str, default: float) -> float:
    value = wanted.get(name)
    try:
        return default if value is None else float(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name}={value!r} is not a number") from error


def _cut(text: str, stops: Sequence[str]) -> str:
    for stop in filter(None, stops):
        text = text.partition(stop)[0]
    return text


def register() -> None:
    """Let the harness know the model by its name; once is enough."""
    if NAME not in model_registry:
        model_registry.register(NAME, target=PanguLM)
