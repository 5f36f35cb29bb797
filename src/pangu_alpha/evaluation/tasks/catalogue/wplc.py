"""Chinese WPLC: the last word of a passage from a novel, which only a long context tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pangu_alpha.errors import DataError
from pangu_alpha.evaluation.tasks.data_files import DataFile, get, records
from pangu_alpha.evaluation.tasks.task import Item, Task

_BLANK = "<mask>"


def _read(files: Sequence[DataFile]) -> Iterator[Item]:
    for number, (where, record) in enumerate(records(files)):
        left, blank, _ = get(record, "masked_text", where).partition(_BLANK)
        if not blank:
            raise DataError(f"{where}: the text has no {_BLANK}: the file is not in the published format")
        yield Item(str(number), {"left": left}, references=(get(record, "correct_word", where),))


TASK = Task(
    name="wplc",
    title="WPLC",
    category="cloze without choices",
    method="perplexity",
    metric="perplexity",
    context="{left}",
    scored="{choice}",
    read=_read,
    splits={"train": ("*train*.json*",), "dev": ("*dev*.json*", "*valid*.json*"), "test": ("*test*.json*",)},
    split="test",
    few=3,
    licence="unknown",
    source="git.openi.org.cn/PCL-Platform.Intelligence/Chinese_WPLC",
    sources={
        "format": "masked_text and correct_word, from its description: the files could not be had",
        "metric": "perplexity of the word's tokens, all items together; and how often each was the likeliest",
        "few": "3; the paper has no examples for it, the README's picture has, without their number",
        "paper": "the PDF has 16.70 and 19.18, the README's picture 48.98 and 45.85 (zero-shot)",
    },
)
