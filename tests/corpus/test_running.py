"""A whole corpus, made by real processes of the command line."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from tests.corpus.conftest import chinese_text, write_jsonl

from pangu_alpha.data.documents import read_documents

RECIPE = """\
preset: pangu_alpha_2021
sources: {first: {}, second: {rules: [special_symbols, simplify]}}
limits: {piece_bytes: 20000, document_bytes: 1000000}
"""


def start(folder: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pangu_alpha.cli.main", "corpus", *words],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )


def pangu_corpus(
    folder: Path, *words: str, timeout: float = 240.0, **environment: str
) -> subprocess.CompletedProcess[str]:
    process = start(folder, *words, **environment)
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)


def contents(corpus: Path) -> dict[str, str]:
    """The hash of every file that a corpus is delivered as."""
    files = [path for part in ("text", "ledger") for path in sorted((corpus / part).rglob("*")) if path.is_file()]
    return {str(path.relative_to(corpus)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def ledger(corpus: Path) -> list[dict[str, Any]]:
    paths = sorted((corpus / "ledger").glob("*.parquet"))
    return [row for path in paths for row in pyarrow.parquet.read_table(path).to_pylist()]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources of 130 documents, with duplicates inside and across, and one corpus made of them."""
    folder = tmp_path_factory.mktemp("corpus")
    texts = [chinese_text(seed) for seed in range(60)]
    near = [text.replace("之", "的", 2) for text in texts[:10]]
    write_jsonl(folder / "first.jsonl", [*texts, *texts[:10], "太短。", "Not Chinese at all. " * 30])
    write_jsonl(folder / "second.jsonl", [*near, *(chinese_text(seed) for seed in range(100, 148))])
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    done = pangu_corpus(folder, *words_for("corpus"), "--workers", "2")
    assert done.returncode == 0, done.stderr
    return folder


def words_for(output: str) -> list[str]:
    return ["run", "recipe.yaml", "--input", "second=second.jsonl", "first=first.jsonl", "--output", output]


def test_the_ledger_has_every_document_and_says_what_became_of_it(project: Path) -> None:
    rows = ledger(project / "corpus")
    lines = [(project / f"{name}.jsonl").read_text(encoding="utf-8").count("\n") for name in ("first", "second")]
    assert len(rows) == sum(lines) == 130
    assert len({(row["file"], row["offset"]) for row in rows}) == len({row["document"] for row in rows}) == 130
    fallen = Counter((row["source"], row["dropped_by"]) for row in rows)
    assert fallen == {
        ("first", None): 60,
        ("first", "chinese_share"): 1,
        ("first", "exact_duplicate"): 10,
        ("first", "length"): 1,
        ("second", None): 48,
        ("second", "near_duplicate"): 10,
    }
    numbers = {row["document"]: row for row in rows}
    for row in rows:
        if row["dropped_by"] in ("exact_duplicate", "near_duplicate"):
            leader = numbers[row["cluster"]]
            assert leader["source"] == "first" and leader["dropped_by"] is None and leader["cluster"] == row["cluster"]


def test_the_texts_are_those_that_the_ledger_keeps_and_pack_reads_them(project: Path) -> None:
    kept = {row["document"] for row in ledger(project / "corpus") if row["dropped_by"] is None}
    documents = list(read_documents([project / "corpus" / "text"]))
    assert {document.fields["document"] for document in documents} == kept
    assert Counter(document.fields["source"] for document in documents) == {"first": 60, "second": 48}
    assert documents[0].text == chinese_text(0)


@pytest.mark.parametrize("workers", ["1", "3"])
def test_what_comes_out_does_not_depend_on_the_number_of_workers(project: Path, workers: str) -> None:
    assert pangu_corpus(project, *words_for(f"by_{workers}"), "--workers", workers).returncode == 0
    assert contents(project / f"by_{workers}") == contents(project / "corpus")


KILLING = """
import os, signal, sys
if "spawn_main" in " ".join(sys.orig_argv):
    from pangu_alpha.corpus import engine
    do = engine.do

    def do_and_kill(function, output, task):
        do(function, output, task)
        if list((output / "work" / os.environ["KILL_IN_STAGE"]).glob("[0-9]*")):
            os.killpg(0, signal.SIGKILL) if "KILL_ALL" in os.environ else os.kill(os.getppid(), signal.SIGKILL)

    engine.do = do_and_kill
"""
"""A sitecustomize.py: the worker that has the first result of a stage kills the parent, or all."""


def test_whatever_process_is_killed_whenever_the_next_start_ends_with_the_same(project: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(KILLING, encoding="utf-8")
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    for number, stage in enumerate(("clean", "candidates", "similar", "finish")):
        environment = {"PYTHONPATH": path, "KILL_IN_STAGE": stage, **({"KILL_ALL": "1"} if number % 2 else {})}
        # It waits for the end of all who can write to its stderr: for the workers of a killed parent, too.
        done = pangu_corpus(project, *words_for("killed"), "--workers", "2", **environment)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert list((project / "killed" / "work" / stage).glob("[0-9]*"))
    done = pangu_corpus(project, *words_for("killed"), "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert contents(project / "killed") == contents(project / "corpus")


def test_a_complete_corpus_is_left_alone_and_another_one_does_not_replace_it(project: Path) -> None:
    before = contents(project / "corpus")
    again = pangu_corpus(project, *words_for("corpus"))
    assert again.returncode == 0 and "complete already" in again.stderr
    (project / "other.yaml").write_text(RECIPE + "rules: {length: {min: 151}}\n", encoding="utf-8")
    other = pangu_corpus(project, "run", "other.yaml", *words_for("corpus")[2:])
    assert other.returncode == 2 and "recipe: rules" in other.stderr and "another --output" in other.stderr
    assert contents(project / "corpus") == before


def test_a_name_that_is_no_text_and_damaged_files_are_in_the_ledger(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    text = chinese_text(1)
    write_jsonl(Path(os.fsdecode(bytes(folder) + b"/bad\xff.jsonl")), [text])
    (folder / "c.parquet").write_bytes(b"PAR1")
    (folder / "d.txt").touch()
    whole = gzip.compress(write_jsonl(tmp_path / "e.jsonl", [chinese_text(seed) for seed in range(2, 30)]).read_bytes())
    (folder / "e.jsonl.gz").write_bytes(whole[:-3])
    done = pangu_corpus(tmp_path, "run", "mnbvc", "--input", "in", "--output", "out", "--workers", "1")
    assert done.returncode == 0, done.stderr
    rows = [(Path(row["file"]).name, row["dropped_by"]) for row in ledger(tmp_path / "out")]
    assert rows == [
        ("bad\\udcff.jsonl", None),
        ("c.parquet", "damaged_file"),
        ("d.txt", "empty"),
        *[("e.jsonl.gz", None)] * 28,
        ("e.jsonl.gz", "damaged_file"),
    ]


def test_a_damaged_summary_is_a_sentence(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [chinese_text(1)])
    words = ["run", "mnbvc", "--input", "a.jsonl", "--output", "out", "--workers", "1"]
    assert pangu_corpus(tmp_path, *words).returncode == 0
    for content in ("", "[" * 5000, "{}", "[1]", '{"documents": 1'):
        (tmp_path / "out" / "summary.json").write_text(content, encoding="utf-8")
        done = pangu_corpus(tmp_path, *words)
        assert done.returncode == 1 and "summary.json is damaged (" in done.stderr and "Traceback" not in done.stderr


def test_poisoned_documents_are_dropped_by_name_and_stop_nothing(tmp_path: Path) -> None:
    good = [chinese_text(seed) for seed in range(6)]
    lines = write_jsonl(tmp_path / "a.jsonl", good[:3])
    with lines.open("ab") as file:
        file.write(b'{"text": "' + "长".encode() * 17_000_000 + b'"}\n')  # 51 MB
        file.write(b"{not json}\n" + b'{"text": 7}\n' + '{"text": "坏\xff"}\n'.encode("latin-1", "ignore"))
        file.write(json.dumps({"text": good[3]}).encode() + b"\n")
    bomb = zstandard.compress(b'{"text": "' + b"\0" * 300_000_000)
    (tmp_path / "bomb.jsonl.zst").write_bytes(bomb)
    (tmp_path / "cut.jsonl.gz").write_bytes(
        gzip.compress(write_jsonl(tmp_path / "b.jsonl", good[4:5] * 9).read_bytes())[:-9]
    )
    deep = "<div>" * 10_000 + good[5] + "</div>" * 10_000
    (tmp_path / "deep.html").write_text(deep, encoding="utf-8")
    (tmp_path / "good.html").write_text(f"<html><body><p>{good[5]}</p></body></html>", encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text("preset: pangu_alpha_2021\nsources: {web: {}}\n", encoding="utf-8")
    done = pangu_corpus(tmp_path, "run", "recipe.yaml", "--input", ".", "--output", "out", "--workers", "2")
    assert done.returncode == 0, done.stderr
    fallen = Counter((Path(row["file"]).name, row["dropped_by"]) for row in ledger(tmp_path / "out"))
    assert fallen["a.jsonl", "too_large"] == fallen["a.jsonl", "no_json"] == fallen["a.jsonl", "no_text_field"] == 1
    assert fallen["bomb.jsonl.zst", "too_large"] == fallen["deep.html", "html_too_deep"] == 1
    assert fallen["cut.jsonl.gz", "damaged_file"] == 1
    assert fallen["a.jsonl", None] == 4 and fallen["good.html", None] == 1


def test_a_document_that_ends_the_process_is_left_out_by_name(tmp_path: Path) -> None:
    poison = tmp_path / "sitecustomize.py"  # a parser that crashes: the text with 炸 kills whoever looks at it
    poison.write_text(
        "import os, signal, sys\n"
        "if 'spawn_main' in ' '.join(sys.orig_argv):\n"
        "    import pangu_alpha.corpus.rules.characters as rule\n"
        "    import pangu_alpha.corpus.cleaning as cleaning\n"
        "    inner = cleaning.text_of\n"
        "    def text_of(stored, *rest):\n"
        "        if '炸'.encode() in stored.data:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return inner(stored, *rest)\n"
        "    cleaning.text_of = text_of\n",
        encoding="utf-8",
    )
    write_jsonl(tmp_path / "a.jsonl", [chinese_text(1), "炸" + chinese_text(2), chinese_text(3)])
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    done = pangu_corpus(tmp_path, "run", "mnbvc", "--input", "a.jsonl", "--output", "out", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert "document 1 of piece 0" in done.stderr
    assert [row["dropped_by"] for row in ledger(tmp_path / "out")] == [None, "crashed", None]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run", "pangu_alpha_2020", "--input", "a.jsonl"], "did you mean 'pangu_alpha_2021'?"),
        (["run", "pangu_alpha_2021", "--input", "a.jsonl"], "say of which source it is"),
        (["run", "mnbvc", "--input", "none.jsonl"], "there is no such file"),
        (["run", "mnbvc", "--input", "a.jsonl", "--workers", "0"], "give 1 or more"),
        (["run", "wrong.yaml", "--input", "a.jsonl"], "there is no rule 'lenght': did you mean 'length'?"),
        (["run", "key.yaml", "--input", "a.jsonl"], "unknown key duplicates.near.row: did you mean 'rows'?"),
    ],
)
def test_wrong_input_gets_a_sentence(tmp_path: Path, words: list[str], sentence: str) -> None:
    write_jsonl(tmp_path / "a.jsonl", [chinese_text(1)])
    (tmp_path / "wrong.yaml").write_text("rules: {lenght: {min: 3}}\n", encoding="utf-8")
    (tmp_path / "key.yaml").write_text("duplicates: {near: {row: 3}}\n", encoding="utf-8")
    done = pangu_corpus(tmp_path, *words, "--output", "out")
    assert done.returncode == 2 and sentence in done.stderr and "Traceback" not in done.stderr


def test_shards_of_one_document_give_what_one_shard_gives(tmp_path: Path) -> None:
    # Published pipelines compute thresholds or rates a shard, which tiny shards falsify.
    texts = [chinese_text(seed) for seed in range(12)]
    write_jsonl(tmp_path / "a.jsonl", [*texts, texts[3], texts[4][:-30], "短。"])
    results = []
    for name, size in (("one", 1_000_000), ("many", 1000)):
        (tmp_path / f"{name}.yaml").write_text(
            f"preset: pangu_alpha_2021\nsources: {{web: {{}}}}\nlimits: {{piece_bytes: {size}}}\n", encoding="utf-8"
        )
        done = pangu_corpus(tmp_path, "run", f"{name}.yaml", "--input", "a.jsonl", "--output", name, "--workers", "2")
        assert done.returncode == 0, done.stderr
        rows = ledger(tmp_path / name)
        offsets = {row["document"]: row["offset"] for row in rows}
        results.append([(row["offset"], row["dropped_by"], offsets.get(row["cluster"])) for row in rows])
    assert len(list((tmp_path / "many" / "ledger").iterdir())) > len(list((tmp_path / "one" / "ledger").iterdir()))
    assert results[0] == results[1]


def test_evaluation_sets_are_kept_out(tmp_path: Path) -> None:
    task = chinese_text(77, 2)
    holding = chinese_text(1, 7) + task.replace("\n", "") + chinese_text(2, 7)
    write_jsonl(tmp_path / "a.jsonl", [chinese_text(3), holding, chinese_text(4)])
    (tmp_path / "task.jsonl").write_text(json.dumps({"id": 1, "choices": ["短", task]}) + "\n", encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text("preset: mnbvc\ncontamination: {paths: [task.jsonl]}\n", encoding="utf-8")
    done = pangu_corpus(tmp_path, "run", "recipe.yaml", "--input", "a.jsonl", "--output", "out")
    assert done.returncode == 0, done.stderr
    assert [row["dropped_by"] for row in ledger(tmp_path / "out")] == [None, "contamination", None]
    (tmp_path / "task.jsonl").write_text('{"text": "短"}\n', encoding="utf-8")
    done = pangu_corpus(tmp_path, "run", "recipe.yaml", "--input", "a.jsonl", "--output", "other")
    assert done.returncode == 2 and "no text of them has 20 characters in a row" in done.stderr
