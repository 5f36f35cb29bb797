"""Starting a job again after a failure, as long as that can help."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from pangu_alpha.console import duration, say

_STOPPED = {128 + signal.SIGINT, 128 + signal.SIGTERM}
"""Exit codes of a job that somebody stopped: it saved itself and is not to be started again."""


def supervise(run_attempt: Callable[[int], int], num_restarts: int, last_step: Callable[[], int | None]) -> int:
    """Run a job; after a failure start it again, which goes on from the newest good checkpoint.

    It gives up when an attempt fails at a step that an earlier attempt has failed at: what happens there is not an
    accident, and every restart would meet it again. What happened in each attempt is then reported on stderr.

    Args:
        run_attempt: starts attempt 0, 1, ... with a fresh port, waits for its end and returns its exit code.
        num_restarts: restarts after the first attempt.
        last_step: steps done when the attempt that has just ended did so; None when it did not come to its first one.

    Returns:
        The exit code of the last attempt.
    """
    report: list[str] = []
    failed_after: set[int | None] = set()
    for attempt in range(num_restarts + 1):
        start = time.monotonic()
        code = run_attempt(attempt)
        if code == 0 or code in _STOPPED:
            return code
        step = last_step()
        report.append(f"  attempt {attempt}: {_failure(step)}, exit code {code}, {duration(time.monotonic() - start)}")
        if step in failed_after:
            say("\n".join([f"giving up: two attempts {_failure(step)}, so another start will not help", *report]))
            return code
        failed_after.add(step)
        if attempt < num_restarts:
            say(f"the job {_failure(step)}; restart {attempt + 1} of {num_restarts}")
    if num_restarts:
        say("\n".join([f"giving up: all {num_restarts} restarts are used", *report]))
    return code


def _failure(step: int | None) -> str:
    return "failed before its first step" if step is None else f"failed in step {step + 1}"
