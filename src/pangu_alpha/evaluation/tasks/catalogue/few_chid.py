"""CHID of FewCLUE: the missing idiom in a sentence, one of seven."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from pangu_alpha.errors import DataError
from pangu_alpha.evaluation.tasks.catalogue import chid
from pangu_alpha.evaluation.tasks.catalogue.fewclue import in_fewclue
from pangu_alpha.evaluation.tasks.data_files import DataFile, get, records
from pangu_alpha.evaluation.tasks.task import Item


def _read(files: Sequence[DataFile]) -> Iterator[Item]:
    for number, (where, record) in enumerate(records(files)):
        passage, choices = get(record, "content", where), tuple(get(record, "candidates", where, list))
        blank = chid.BLANK.search(passage)
        answer = get(record, "answer", where, int)
        if blank is None or not 0 <= answer < len(choices):
            what = f"answer {answer} is none of its {len(choices)} candidates" if blank else "the text has no #idiom#"
            raise DataError(f"{where}: {what}: the file is not in the published format")
        yield Item(str(number), chid.around(passage, blank), choices, answer)


TASK = in_fewclue(
    dataclasses.replace(chid.TASK, name="few_chid", title="CHID (FewCLUE)", category="FewCLUE", read=_read), "chid"
)
