"""Stands in for `pangu train` where training does not matter: a rank that leaves its environment, waits, and ends.

The file `behaviour` in the working directory says what it does: seconds=S, die=RANK, fail_once=RANK (in the first
attempt, in which the others wait to be ended), checkpoint=STEP, together=N (wait for N ranks as training would),
linger=S (be the only process that is this rank, as training would, and take S seconds to save).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

behaviour = dict(word.split("=", 1) for word in Path("behaviour").read_text().split())
rank, folder = os.environ["RANK_ID"], Path(sys.argv[1]) / "seen"
folder.mkdir(parents=True, exist_ok=True)
one_fails = "fail_once" in behaviour and not (folder / "failed").exists()


def save(number: int, frame: FrameType | None) -> None:
    (folder / f"saved_{rank}").touch()
    time.sleep(float(behaviour.get("linger", "0")))
    (folder / f"lives_{rank}").unlink(missing_ok=True)
    sys.exit(128 + signal.SIGTERM)


signal.signal(signal.SIGTERM, save)
if behaviour.get("linger"):
    sys.path.insert(0, str(Path(__file__).parents[2] / "src"))  # -S hides the installed package.
    from pangu_alpha.cli.backends import alone

    lock = alone(folder.parent, int(rank))
    lock.__enter__()
    (folder / f"lives_{rank}").touch(exist_ok=False)
seen = {"environment": dict(os.environ), "words": sys.argv[1:], "process": os.getpid()}
aside = folder / f"{rank}.part"
aside.write_text(json.dumps({**seen, "cores": sorted(os.sched_getaffinity(0)), "directory": str(Path.cwd())}))
aside.rename(folder / f"{rank}.json")
print(f"rank {rank} computes", flush=True)
while sum(1 for _ in folder.glob("*.json")) < int(behaviour.get("together", "0")):
    time.sleep(0.02)
if behaviour.get("die") == rank or (one_fails and behaviour["fail_once"] == rank):
    (folder / "failed").touch()
    print("梯度 are gone: no memory", flush=True)
    sys.exit(3)
if one_fails:
    time.sleep(1000)
if behaviour.get("checkpoint"):
    place = folder.parent / "checkpoints" / f"step_{int(behaviour['checkpoint']):08d}"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"part_{rank}").write_text(f"weights of {rank}")
    if rank == "0":
        (place / "index.json").write_text("{}")
        with (folder.parent / "metrics.jsonl").open("a") as metrics:
            metrics.write(f"step {behaviour['checkpoint']}\n")
time.sleep(float(behaviour.get("seconds", "0")))
(folder / f"lives_{rank}").unlink(missing_ok=True)
