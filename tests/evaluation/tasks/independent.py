"""A scorer written from the paper (§5.2, Tables 7 and 8) without the code that it is compared with.

Templates are typed out from Table 7, the published files are opened with `json`, each candidate goes through the whole
network by itself, and its probability is taken from the logits with NumPy.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import Tensor

from pangu_alpha.config import ModelConfig
from pangu_alpha.model import PanguAlpha
from pangu_alpha.tokenizer import Tokenizer

Texts = list[tuple[str, str]]
"""For each candidate what is given, and what is scored."""
TOPICS = {"news_story": "故事", "news_sports": "体育", "news_house": "房产", "news_car": "汽车", "news_game": "游戏"}


class WholeNetwork:
    """Log-probabilities from plain forward passes."""

    def __init__(self, network: PanguAlpha, config: ModelConfig, tokenizer: Tokenizer) -> None:
        self._network, self._config, self._tokenizer = network, config, tokenizer

    def log_probabilities(self, ids: Sequence[int]) -> np.ndarray:
        """[N, V]: of each token, given those before it. The first follows a lone end of document."""
        length = self._config.seq_length
        first, rest = np.zeros((1, length), np.int32), np.zeros((1, length), np.int32)
        first[0, 0], rest[0, : len(ids)] = self._tokenizer.eod_id, ids
        places, zeros = np.arange(length, dtype=np.int32)[None], np.zeros(1, np.int32)
        rows = []
        for row in (first, rest):
            documents = np.zeros_like(row)
            logits = self._network(Tensor(row), Tensor(places), Tensor(documents), Tensor(zeros))
            rows.append(logits.asnumpy().astype(np.float64))
        logits = np.concatenate([rows[0][:1], rows[1][: len(ids) - 1]])
        shifted = logits - logits.max(1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))

    def likeliest(self, prompt: str, number: int) -> str:
        """What follows `prompt`, always the likeliest token, up to the end of the document."""
        ids = list(self._tokenizer.encode(prompt))
        start = len(ids)
        while len(ids) < start + number:
            # A place more than there are tokens: its row is what comes next.
            ids.append(int(self.log_probabilities([*ids, 0])[-1].argmax()))
            if ids[-1] == self._tokenizer.eod_id:
                return self._tokenizer.decode(ids[start:-1])
        return self._tokenizer.decode(ids[start:])

    def price(self, given: str, scored: str) -> tuple[float, int]:
        """Nats and number of the tokens of `scored`.

        Only for texts whose tokens do not span the end of `given`.
        """
        ids = self._tokenizer.encode(given + scored)
        start = len(self._tokenizer.encode(given))
        assert ids[:start] == self._tokenizer.encode(given)
        table = self.log_probabilities(ids)[start:]
        nats = [-float(row[token]) for row, token in zip(table, ids[start:], strict=True)]
        return sum(nats), len(nats)


def _records(data: Path, archive: str, name: str) -> Iterator[Any]:
    with zipfile.ZipFile(data / archive) as file:
        yield from map(json.loads, file.read(name).decode().splitlines())


def _c3(data: Path, _: Any) -> Iterator[tuple[Texts, int]]:
    for dialogue, questions, _name in json.loads((data / "c3/c3-d-dev.json").read_text(encoding="utf-8")):
        for one in questions:
            texts = [
                (f"问: {one['question']}\n答:{choice}\n该答案来自对话: ", "\n".join(dialogue))
                for choice in one["choice"]
            ]
            yield texts, one["choice"].index(one["answer"])


def _ocnli(data: Path, _: Any) -> Iterator[tuple[Texts, int]]:
    for line in (data / "ocnli/dev.json").read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        if one["label"] != "-":
            texts = [
                ("", f"{one['sentence1'].rstrip('。')}?{word}，{one['sentence2']}") for word in ("对", "或许", "错")
            ]
            yield texts, ["entailment", "neutral", "contradiction"].index(one["label"])


def _cmnli(data: Path, _: Any) -> Iterator[tuple[Texts, int]]:
    for one in _records(data, "cmnli_public.zip", "cmnli_public/dev.json"):
        if one["label"] != "-":
            texts = [
                ("", f"{one['sentence1'].rstrip('。')}?{word}，{one['sentence2']}") for word in ("对", "或许", "错")
            ]
            yield texts, ["entailment", "neutral", "contradiction"].index(one["label"])


def _cmrc2019(data: Path, _: Any) -> Iterator[tuple[Texts, int]]:
    for one in json.loads((data / "cmrc2019/cmrc2019_dev.json").read_text(encoding="utf-8"))["data"]:
        for number, answer in enumerate(one["answers"], start=1):
            left, right = one["context"].split(f"[BLANK{number}]")
            left, right = (re.sub(r"\[BLANK\d\]", "……", part) for part in (left, right))
            yield [(left, choice + right) for choice in one["choices"]], answer


def _tnews(data: Path, records: Sequence[dict[str, Any]]) -> Iterator[tuple[Texts, int]]:
    # Which three wrong labels an item gets is drawn: they are taken from the answers, the truth is not.
    for one, record in zip(_records(data, "tnews_public.zip", "dev.json"), records, strict=True):
        labels = record["choices"]
        assert len(set(labels)) == 4
        yield (
            [(f"这是关于{label}的文章：", one["sentence"]) for label in labels],
            labels.index(TOPICS[one["label_desc"]]),
        )


def _iflytek(data: Path, records: Sequence[dict[str, Any]]) -> Iterator[tuple[Texts, int]]:
    for one, record in zip(_records(data, "iflytek_public.zip", "dev.json"), records, strict=True):
        labels = record["choices"]
        assert len(set(labels)) == 4
        yield [(f"这是关于{label}的应用程序：", one["sentence"]) for label in labels], labels.index(one["label_des"])


def _afqmc(data: Path, _: Any) -> Iterator[tuple[Texts, int]]:
    for one in _records(data, "afqmc_public.zip", "dev.json"):
        both = f"{one['sentence1'].rstrip('。')}。{one['sentence2']}"
        yield [(f"下面两个句子语义{word}：", both) for word in ("不同", "相同")], int(one["label"])


def _csl(data: Path, _: Any) -> Iterator[tuple[Texts, int]]:
    for one in _records(data, "csl_public.zip", "dev.json"):
        start = f"摘要：{one['abst'].rstrip('。')}，关键词：{'、'.join(one['keyword'])}"
        yield [("", f"{start}不是真实关键词"), ("", f"{start}是真实关键词")], int(one["label"])


def _chid(data: Path, _: Any) -> Iterator[tuple[Texts, int]]:
    with zipfile.ZipFile(data / "chid_public.zip") as file:
        answers = json.loads(file.read("dev_answer.json"))
    for one in _records(data, "chid_public.zip", "dev.json"):
        for passage in one["content"]:
            (blank,) = re.findall("#idiom[0-9]+#", passage)
            yield [("", passage.replace(blank, idiom)) for idiom in one["candidates"]], answers[blank]


def _wsc(data: Path, _: Any) -> Iterator[tuple[Texts, int]]:
    for one in _records(data, "cluewsc2020_public.zip", "dev.json"):
        place = one["target"]["span2_index"]
        replaced = one["text"][:place] + one["target"]["span1_text"] + one["text"][place + 1 :]
        yield [("", one["text"]), ("", replaced)], int(one["label"] == "true")


INDEPENDENT: dict[str, Callable[[Path, Sequence[dict[str, Any]]], Iterator[tuple[Texts, int]]]] = {
    "c3": _c3,
    "ocnli": _ocnli,
    "cmnli": _cmnli,
    "cmrc2019": _cmrc2019,
    "tnews": _tnews,
    "iflytek": _iflytek,
    "afqmc": _afqmc,
    "csl": _csl,
    "chid": _chid,
    "cluewsc2020": _wsc,
}


def words_of(data: Path) -> Iterator[tuple[str, str]]:
    """WPLC: what stands before the word, and the word."""
    for line in (data / "wplc/test.jsonl").read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        yield one["masked_text"].split("<mask>")[0], one["correct_word"]


Free = Iterator[tuple[str, list[str]]]
"""The prompt and the right answers of each item."""


def _read(passage: str, question: str) -> str:
    return f"阅读文章：{passage}\n问：{question}\n答："


def _cmrc2018(data: Path) -> Free:
    for one in json.loads((data / "cmrc2018/cmrc2018_dev.json").read_text(encoding="utf-8")):
        for query in one["qas"]:
            yield _read(one["context_text"], query["query_text"]), query["answers"]


def _drcd(data: Path) -> Free:
    for article in json.loads((data / "drcd/DRCD_test.json").read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for query in paragraph["qas"]:
                yield _read(paragraph["context"], query["question"]), [one["text"] for one in query["answers"]]


def _dureader(data: Path) -> Free:
    for one in _records(data, "dureader.zip", "preprocessed/devset/zhidao.dev.json"):
        (document,) = (document for document in one["documents"] if document["is_selected"])
        yield _read(document["paragraphs"][document["most_related_para"]], one["question"]), one["answers"]


def _webqa(data: Path) -> Free:
    for one in json.loads((data / "webqa/me_test.ann.json").read_text(encoding="utf-8")).values():
        answers = [answer for evidence in one["evidences"].values() for answer in evidence["answer"]]
        yield f"问：{one['question']}\n答：", [answer for answer in answers if answer != "no_answer"]


def _gaps(text: str, answers: Sequence[str]) -> Free:
    """Passages of numbered sentences; the one with the gap comes last, and is cut there."""
    for number, passage in enumerate(re.split(r"(?<=\n)(?=1 )", text)):
        *sentences, query = (re.sub(r"^\S+ \|\|\| ", "", line).replace(" ", "") for line in passage.splitlines())
        query, _, answer = query.partition("|||")
        kept = "".join(sentence for sentence in sentences if "XXXXX" not in sentence)
        yield kept + query.split("XXXXX")[0], [answer or answers[number]]


def _pd(data: Path) -> Free:
    with zipfile.ZipFile(data / "pd.zip") as file:
        yield from _gaps(file.read("pd/pd.test").decode(), [])


def _cft(data: Path) -> Free:
    with zipfile.ZipFile(data / "cft.zip") as file:
        yield from _gaps(file.read("cft.test.human").decode(), [])


def _cmrc2017(data: Path) -> Free:
    folder = data / "cmrc2017"
    answers = (folder / "cloze.valid.answer").read_text(encoding="utf-8").splitlines()
    text = (folder / "cloze.valid.doc_query").read_text(encoding="utf-8")
    yield from _gaps(text, [line.split(" ||| ")[1] for line in answers])


FREE: dict[str, Callable[[Path], Free]] = {
    "cmrc2018": _cmrc2018,
    "drcd": _drcd,
    "dureader": _dureader,
    "webqa": _webqa,
    "pd": _pd,
    "cft": _cft,
    "cmrc2017": _cmrc2017,
}


def _parts(text: str) -> list[str]:
    """Chinese characters, and words of letters or digits; punctuation does not count."""
    return re.findall(r"[0-9a-z]+|[\u3400-\u9fff]", text.lower())


def exact(answer: str, truth: str) -> float:
    return float(_parts(answer) == _parts(truth))


def f1(answer: str, truth: str) -> float:
    """Of the longest common run."""
    one, other = _parts(answer), _parts(truth)
    runs = [(i, j) for i in range(len(one)) for j in range(i + 1, len(one) + 1)]
    theirs = {tuple(other[i:j]) for i in range(len(other)) for j in range(i + 1, len(other) + 1)}
    common = max((j - i for i, j in runs if tuple(one[i:j]) in theirs), default=0)
    return 2 * common / (len(one) + len(other)) if one and other else float(one == other)


def rouge_1(answer: str, truth: str) -> float:
    one, other = _parts(answer), _parts(truth)
    rest, common = list(other), 0
    for part in one:
        if part in rest:
            rest.remove(part)
            common += 1
    return 2 * common / (len(one) + len(other)) if one and other else float(one == other)
