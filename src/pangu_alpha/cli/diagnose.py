"""`pangu diagnose`: which rank of a run failed first, and why."""

from __future__ import annotations

import argparse
from pathlib import Path

from pangu_alpha.cluster.watching.diagnosis import describe, diagnose
from pangu_alpha.cluster.watching.exits import COMMAND
from pangu_alpha.cluster.watching.status import describe as describe_status
from pangu_alpha.cluster.watching.status import describe_unreadable, read_status
from pangu_alpha.errors import ClusterError
from pangu_alpha.reading import read_text
from pangu_alpha.run_folder import CHECKPOINTS, LOGS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.description = (
        "Say which rank of a run failed first, why, and what to do, from the exit codes, records and logs of all ranks."
    )
    parser.epilog = "examples:\n  pangu diagnose runs/2b6\n  pangu diagnose runs/2b6 --attempt 0"
    parser.add_argument("output", type=Path, metavar="RUN", help="output directory of the run")
    parser.add_argument("--attempt", type=int, metavar="K", help="an earlier attempt: RUN/logs/attempt_K")


def run(arguments: argparse.Namespace) -> None:
    """Carry out `pangu diagnose ...`."""
    output = arguments.output
    diagnosis = diagnose(output, arguments.attempt)
    for line in describe_unreadable(diagnosis.unreadable):
        print(line)
    if not diagnosis.can_tell:
        raise ClusterError(
            "whether anything has failed cannot be told: no heartbeat and no exit code of a process can be read, and "
            "no log that can be read ends in an error"
        )
    if not diagnosis.failures:
        print("nothing has failed" + (", as far as can be read" if diagnosis.unreadable else ""))
        if arguments.attempt is None and diagnosis.others:
            print(describe_status(output, read_status(output)))
        return
    print(describe(diagnosis))
    from pangu_alpha.checkpoint import candidates  # here: NumPy takes as long as all the rest

    checkpoint = next(candidates(output / CHECKPOINTS, print), None)
    print(f"the newest checkpoint is {checkpoint.path}" if checkpoint else "there is no checkpoint to go on from")
    command = _command(output / LOGS / COMMAND)
    if command is not None:
        print(f"{'go on from it with' if checkpoint else 'start again with'}:\n  {command}")


def _command(path: Path) -> str | None:
    """What started the job; None when nobody has noted it."""
    try:
        return read_text(path).strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        print(f"cannot be read: {path}: {why}")
        return None
