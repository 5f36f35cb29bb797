"""How fast the paper's tasks are scored, beside lm-evaluation-harness's own model `hf` (PyTorch, transformers).

Both are models of the harness, have the same weights (4 layers, 256 hidden, 1,024 positions, float32) and the same
tokenizer, get the same requests of the same tasks, and use all cores. The tasks are in the published files' form, made
of a Chinese text, with candidates and passages of the usual lengths. The sides take turns, each in a process of its
own, after a warm-up on other items; a task's ratio is that of the medians. Tokens count all of each candidate,
examples included, for both. Log-likelihoods must agree to 1e-4 nats a token where the two score the same tokens: the
harness has `hf` score a blank or line end before the continuation, too, and cut a token that spans the beginning.

    pip install -r benchmarks/requirements.txt -r requirements-harness.txt
    python benchmarks/evaluate_hf.py --text runs/quickstart/text/train.jsonl
    python benchmarks/evaluate_hf.py --text runs/quickstart/text/train.jsonl --rounds 3 --items 32 --batch-size 16
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ |= {"GLOG_v": "3", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}

import numpy as np

from pangu_alpha.checkpoint import load_from
from pangu_alpha.data.documents import read_texts
from pangu_alpha.parallel.parts import Box

BAR, TOLERANCE, WARM_UP = 1.0, 1e-4, 4
TASKS = {"tnews": (0, 6), "afqmc": (0, 4), "c3": (0, 3), "chid": (3,), "cmrc2019": (0, 2)}
"""Numbers of examples; none only where something stands before what is scored, else the two predict its first token
from different things."""
Side = Callable[[list[Any]], list[float]]


def make_data_sets(text: str, folder: Path, num_items: int) -> None:
    """Files of the tasks, cut out of `text`."""
    generator = random.Random(1)

    def cut(length: int) -> str:
        start = generator.randrange(len(text) - length)
        return text[start : start + length].replace("\n", "")

    def write(path: str, lines: Iterator[Any] | list[Any]) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("\n".join(json.dumps(one, ensure_ascii=False) for one in lines), encoding="utf-8")

    topics = ("news_story", "news_sports", "news_house", "news_car", "news_game", "news_tech")
    for split in ("train", "dev"):
        number = range(num_items + WARM_UP)
        write(f"tnews/{split}.json", [{"label_desc": topics[one % 6], "sentence": cut(22)} for one in number])
        pairs = [{"sentence1": cut(14), "sentence2": cut(14), "label": str(one % 2)} for one in number]
        write(f"afqmc/{split}.json", pairs)
        questions = []
        for one in number:
            choices = [cut(5) for _ in range(4)]
            asked = {"question": cut(12), "choice": choices, "answer": choices[one % 4]}
            questions.append([[cut(75), cut(75)], [asked], f"{split}-{one}"])
        write(f"c3/c3-d-{split}.json", [questions])
        idioms = [[cut(4) for _ in range(10)] for _ in number]
        blanks = [f"#idiom{one:06}#" for one in number]
        passages = [{"content": [cut(95) + blanks[one] + cut(95)], "candidates": idioms[one]} for one in number]
        write(f"chid/{split}.json", passages)
        write(f"chid/{split}_answer.json", [{blank: one % 10 for one, blank in enumerate(blanks)}])
        data = [
            {"context": f"{cut(270)}[BLANK1]{cut(180)}", "context_id": f"{split}_{one}",
             "choices": [cut(17) for _ in range(10)], "answers": [one % 10]}
            for one in number
        ]  # fmt: skip
        write(f"cmrc2019/cmrc2019_{split}.json", [{"data": data}])


def make_network(text: str, folder: Path) -> None:
    """A checkpoint of the network, after a step, in `folder`/run."""
    (folder / "text.jsonl").write_text(json.dumps({"text": text[:200_000]}, ensure_ascii=False), encoding="utf-8")
    (folder / "recipe.yaml").write_text(
        f"""\
device: cpu
output: {folder / "run"}
tokenizer: {folder / "tokenizer"}
model: {{num_layers: 4, hidden_size: 256, num_heads: 4, vocab_size: 4000, seq_length: 1024,
        final_norm: before_query_layer, dropout: 0.0, compute_dtype: float32}}
data: {{train: [{{path: {folder / "tokens"}}}]}}
train: {{steps: 3, batch_size: 2}}
schedule: {{learning_rate: 1.0e-3, end_learning_rate: 1.0e-3, warmup_steps: 0, decay_steps: 3}}
""",
        encoding="utf-8",
    )
    tokenizer, texts = str(folder / "tokenizer"), str(folder / "text.jsonl")
    for words in (
        ("tokenizer", "train", "--input", texts, "--output", tokenizer, "--vocab-size", "4000"),
        ("data", "pack", "--input", texts, "--tokenizer", tokenizer, "--output", str(folder / "tokens")),
        ("train", str(folder / "recipe.yaml")),
    ):
        subprocess.run([sys.executable, "-m", "pangu_alpha.cli.main", *words], check=True, capture_output=True)


def requests_of(name: str, shots: int, folder: Path, has_warm_up: bool) -> list[Any]:
    """The harness's requests of a task; those of the warm-up, or the others."""
    from pangu_alpha.harness.task import PanguTask

    metadata = {"task": name, "data": str(folder / "data_sets"), "checkpoint": str(folder / "run")}
    task = PanguTask({"task": f"pangu_{name}", "metadata": metadata})
    task.set_config("num_fewshot", shots)
    task.build_all_requests()
    return [request for request in task.instances if (request.doc_id < WARM_UP) == has_warm_up]


def ours(folder: Path, batch_size: int) -> Side:
    """The model `pangu`."""
    from pangu_alpha.harness.model import PanguLM

    model = PanguLM(checkpoint=str(folder / "run"), batch_size=batch_size)

    def measure(requests: list[Any]) -> list[float]:
        model._scorer.forget()  # examples are computed anew in each round
        return [float(found) for found, _ in model.loglikelihood(requests)]

    return measure


def theirs(folder: Path, batch_size: int) -> Side:
    """The model `hf` with the same weights and tokenizer."""
    import torch
    from lm_eval.models.huggingface import HFLM
    from torch import nn
    from torch.nn import functional
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizer
    from transformers.modeling_outputs import CausalLMOutput

    from pangu_alpha.tokenizer import load_tokenizer

    own = load_tokenizer(folder / "tokenizer")
    size, heads, layers, length, words = 256, 4, 4, 1024, 4000

    class Tokenizer(PreTrainedTokenizer):
        def __init__(self) -> None:
            super().__init__(eos_token="<eod>", pad_token="<pad>", bos_token="<eod>")

        @property
        def vocab_size(self) -> int:
            return words

        def get_vocab(self) -> dict[str, int]:
            return {"<eod>": own.eod_id, "<pad>": own.pad_id, **{f"#{one}": one for one in range(words)}}

        def _tokenize(self, text: str, **_: Any) -> list[str]:
            return [f"#{one}" for one in own.encode(text)]

        def _convert_token_to_id(self, token: str) -> int:
            return self.get_vocab()[token] if token.startswith("<") else int(token[1:])

        def _convert_id_to_token(self, index: int) -> str:
            return f"#{index}"

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention_norm, self.feed_forward_norm = nn.LayerNorm(size), nn.LayerNorm(size)
            self.query, self.key, self.value, self.output = (nn.Linear(size, size) for _ in range(4))
            self.expand, self.contract = nn.Linear(size, 4 * size), nn.Linear(4 * size, size)

        def forward(self, x: Any, query: Any = None) -> Any:
            rows, tokens, _ = x.shape
            normed = self.attention_norm(x)
            q, k, v = (
                y.view(rows, tokens, heads, -1).transpose(1, 2)
                for y in (self.query(normed if query is None else query), self.key(normed), self.value(normed))
            )
            attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.output(attended.transpose(1, 2).reshape(rows, tokens, size))
            inner = functional.gelu(self.expand(self.feed_forward_norm(x)), approximate="tanh")
            return x + self.contract(inner)

    class Network(PreTrainedModel):
        config_class = PretrainedConfig

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.word, self.position = nn.Embedding(words, size), nn.Embedding(length, size)
            self.top_query = nn.Embedding(length, size)
            self.layers = nn.ModuleList(Layer() for _ in range(layers))
            self.final_norm = nn.LayerNorm(size)
            self.post_init()

        def forward(self, input_ids: Any, attention_mask: Any = None, **_: Any) -> Any:
            # The harness pads at the end, where no token of the text looks.
            rows, tokens = input_ids.shape
            places = torch.arange(tokens)
            x = self.word(input_ids) + self.position(places)
            for layer in self.layers[:-1]:
                x = layer(x)
            query = self.top_query(places).expand(rows, tokens, size)
            x = self.layers[-1](self.final_norm(x), query)
            return CausalLMOutput(logits=x @ self.word.weight.T)

    network = Network(PretrainedConfig(max_position_embeddings=length, vocab_size=words)).eval()
    _fill(network, folder)
    model = HFLM(
        pretrained=network, tokenizer=Tokenizer(), backend="causal", batch_size=batch_size, max_length=length,
        device="cpu",
    )  # fmt: skip
    return lambda requests: [found for found, _ in model.loglikelihood(requests, disable_tqdm=True)]


def _fill(network: Any, folder: Path) -> None:
    """Give the PyTorch network the checkpoint's weights."""
    import torch

    def name_of(name: str) -> str:
        name = name.replace("layers.3.", "query_layer.").replace("top_query.", "query_layer.top_query.")
        for part in ("query", "key", "value", "output"):
            name = name.replace(f".{part}.", f".attention.{part}.")
        for part in ("expand", "contract"):
            name = name.replace(f".{part}.", f".feed_forward.{part}.")
        if "norm" in name:
            return name.replace("weight", "gamma").replace("bias", "beta")
        tables = {"word.weight": "embedding.word.table", "position.weight": "embedding.position.table"}
        return tables.get(name, name.replace("top_query.weight", "top_query.table"))

    def fill(checkpoint: Any) -> None:
        for name, parameter in network.named_parameters():
            shape = tuple(parameter.shape)
            is_product = ".weight" in name and "norm" not in name and name.startswith("layers.")
            values = checkpoint.read(name_of(name), Box.all_of(shape[::-1] if is_product else shape))
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(values.T if is_product else values)))

    load_from(folder / "run", fill, lambda line: None)


def serve(side: str, folder: Path, batch_size: int) -> None:
    """Measure a task for each line of stdin, `name shots`, and print seconds and log-likelihoods as JSON."""
    measure = {"ours": ours, "theirs": theirs}[side](folder, batch_size)
    asked: dict[str, list[Any]] = {}
    print("ready", flush=True)
    for line in sys.stdin:
        name, shots = line.split()
        if line not in asked:
            asked[line] = requests_of(name, int(shots), folder, has_warm_up=False)
            measure(requests_of(name, int(shots), folder, has_warm_up=True))
            measure(asked[line])
        begin = time.perf_counter()
        found = measure(asked[line])
        print(json.dumps([time.perf_counter() - begin, found]), flush=True)


class Child:
    """A side in its own process."""

    def __init__(self, side: str, folder: Path, batch_size: int) -> None:
        words = [sys.executable, __file__, "--serve", side, "--folder", str(folder), "--batch-size", str(batch_size)]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._hear("ready")

    def _hear(self, start: str) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(start):
                return line
        raise SystemExit(f"a side has ended with {self._process.wait()}")

    def ask(self, name: str, shots: int) -> tuple[float, list[float]]:
        """Seconds and log-likelihoods."""
        assert self._process.stdin is not None
        print(name, shots, file=self._process.stdin, flush=True)
        seconds, found = json.loads(self._hear("["))
        return seconds, found

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def comparable(requests: list[Any], tokenizer: Any) -> dict[int, int]:
    """The scored tokens of the requests, by place, of which both models score the same ones."""
    numbers: dict[int, int] = {}
    unlike = set()
    for place, request in enumerate(requests):
        context, continuation = request.args
        before, whole = tokenizer.encode(context), tokenizer.encode(context + continuation)
        numbers[place] = len(whole) - len(before)
        if context != context.rstrip() or whole[: len(before)] != before:
            unlike.add(request.doc_id)  # the other candidates of a question are scored from the same token on
    return {place: number for place, number in numbers.items() if requests[place].doc_id not in unlike}


def compare(folder: Path, rounds: int, batch_size: int) -> int:
    """Print the table; 1 when the bar is missed or the two do not agree."""
    from pangu_alpha.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(folder / "tokenizer")
    sides = {side: Child(side, folder, batch_size) for side in ("ours", "theirs")}
    total = dict.fromkeys(sides, 0.0)
    all_tokens, largest = 0, 0.0
    head = "pangu ÷ hf, largest difference (nats a token) of those compared"
    print(f"{'':20}  {'tokens':>9}  {'pangu':>8}  {'hf':>8}   {head}")
    for name, shots in ((name, shots) for name, several in TASKS.items() for shots in several):
        requests = requests_of(name, shots, folder, has_warm_up=False)
        lengths = [len(tokenizer.encode("".join(request.args))) for request in requests]
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        found: dict[str, list[float]] = {}
        for _ in range(rounds):
            for side, child in sides.items():
                taken, found[side] = child.ask(name, shots)
                seconds[side].append(taken)
        compared = comparable(requests, tokenizer)
        differs = max(
            (abs(found["ours"][place] - found["theirs"][place]) / number for place, number in compared.items()),
            default=0.0,
        )
        medians = {side: statistics.median(values) for side, values in seconds.items()}
        for side in sides:
            total[side] += medians[side]
        all_tokens, largest = all_tokens + sum(lengths), max(largest, differs)
        rates = {side: sum(lengths) / medians[side] for side in sides}
        print(
            f"{name + f', {shots} shots':20}  {sum(lengths):9,}  {rates['ours']:8,.0f}  {rates['theirs']:8,.0f}   "
            f"{rates['ours'] / rates['theirs']:.2f}   {f'{differs:.1e} of {len(compared)}' if compared else '-'}",
            flush=True,
        )
    for child in sides.values():
        child.close()
    ratio = total["theirs"] / total["ours"]
    print(f"pangu ÷ hf {ratio:.2f} of {all_tokens:,} tokens, and the bar is {BAR}: {_judge(ratio >= BAR)}")
    print(f"largest difference {largest:.1e} nats a token, and the bar is {TOLERANCE}: {_judge(largest <= TOLERANCE)}")
    return int(ratio < BAR or largest > TOLERANCE)


def _judge(is_reached: bool) -> str:
    return "reached" if is_reached else "missed"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, help="Chinese text, .txt or .jsonl, of 300,000 characters or more")
    parser.add_argument("--items", type=int, default=16, help="of each task")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=8, help="of hf")
    parser.add_argument("--folder", type=Path, default=Path("runs/evaluate_hf"), help="for the tasks and the network")
    parser.add_argument("--serve", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    if arguments.serve:
        serve(arguments.serve, folder, arguments.batch_size)
        return 0
    text = "".join(read_texts([arguments.text]))
    folder.mkdir(parents=True, exist_ok=True)
    make_data_sets(text, folder / "data_sets", arguments.items)
    if not (folder / "run" / "checkpoints").exists():
        make_network(text, folder)
    return compare(folder, arguments.rounds, arguments.batch_size)


if __name__ == "__main__":
    sys.exit(main())
