"""What ends the making of a corpus that is nobody's wrong input."""

from __future__ import annotations

from pangu_alpha.errors import PanguError


class CorpusError(PanguError):
    """A stage cannot go on: its process dies again and again, or its sums are not those of its input."""

    exit_code = 1
