"""The paper's rules in datatrove, for `benchmarks/corpus.py`; run by the interpreter of datatrove's environment.

python corpus_datatrove.py TEXT.jsonl FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.filters import LambdaFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter

from pangu_alpha.corpus.rules import RULES

NAMES = (
    *("special_symbols", "simplify", "navigation", "repeated_paragraphs", "chinese_share", "length", "sentences"),
    *("advertisement", "sensitive_words"),
)
TASKS = 4


def passes(document: Document) -> bool:
    """The same functions that the corpus calls, in the same order."""
    for name in NAMES:
        document.text, _, stays = RULES[name].apply(document.text, RULES[name].settings)
        if not stays:
            return False
    return True


def run(steps: list[Any], tasks: int = TASKS) -> None:
    # One folder of logs for all steps: by default those after the first would count as completed.
    logs = f"{sys.argv[2]}/logs"
    LocalPipelineExecutor(steps, tasks=tasks, workers=2, logging_dir=logs, skip_completed=False).run()


def main() -> None:
    text, folder = Path(sys.argv[1]), Path(sys.argv[2])
    parts = folder / "parts"
    parts.mkdir(parents=True)
    lines = text.read_text(encoding="utf-8").splitlines(keepends=True)
    for number in range(TASKS):  # datatrove gives a task whole files
        (parts / f"{number}.jsonl").write_text("".join(lines[number::TASKS]), encoding="utf-8")
    clean, work, config = str(folder / "clean"), str(folder / "work"), MinhashConfig(n_grams=5)
    run([JsonlReader(str(parts)), LambdaFilter(passes), JsonlWriter(clean)])
    run([JsonlReader(clean), MinhashDedupSignature(f"{work}/signatures", config, language="cmn_Hani")])
    run([MinhashDedupBuckets(f"{work}/signatures", f"{work}/buckets", config=config)], config.num_buckets)
    run([MinhashDedupCluster(f"{work}/buckets", f"{work}/clusters", config=config)], 1)
    run([JsonlReader(clean), MinhashDedupFilter(f"{work}/clusters"), JsonlWriter(str(folder / "out"))])
    if not any((folder / "out").iterdir()):
        raise SystemExit("datatrove has written nothing")


if __name__ == "__main__":
    main()
