"""What the processes of a job agree on: on their hosts, never through a collective of the device. No MindSpore."""

from __future__ import annotations

import hashlib
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from pangu_alpha.errors import ConfigError

Rule = Callable[[Sequence[str]], str]
"""Makes one text of those of all processes, which it is given in the order of their ranks."""


class Workers(ABC):
    """The processes of a job. All of them must ask the same, in the same order."""

    @abstractmethod
    def decide(self, text: str, rule: Rule) -> str:
        """What `rule` makes of the texts that all processes give; all get the same.

        Raises:
            TrainingError: a process has ended, so that nothing can be decided any more.
        """

    def largest(self, number: int) -> int:
        """The largest of the numbers that they give."""
        return int(self.decide(str(int(number)), lambda texts: str(max(map(int, texts)))))

    def is_equal(self, text: str) -> bool:
        """Whether all processes give the same text."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        return self.decide(digest, lambda texts: "same" if len(set(texts)) == 1 else "other") == "same"

    def require_equal(self, settings: str) -> None:
        """Refuse processes that were given different settings.

        Raises:
            ConfigError: on every process alike.
        """
        if not self.is_equal(settings):
            raise ConfigError(
                "the ranks of this job were started with different settings. `pangu diagnose RUN` names the rank and "
                "the setting; give all ranks the same recipe and overrides"
            )

    def has_lost(self) -> bool:
        """Whether one of the processes is known to have ended. It may be asked at any time, by any thread."""
        return False

    def attempt(self) -> str:
        """A text that no other start of a job has."""
        return self.decide(secrets.token_hex(8), lambda texts: texts[0])


class Alone(Workers):
    """A job of one process."""

    def decide(self, text: str, rule: Rule) -> str:
        """See `Workers`."""
        return rule([text])
