"""The ranks of a rehearsal that have no process: only what they would write to a checkpoint is there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType

from pangu_alpha.checkpoint import Save, save_part, saves_in
from pangu_alpha.config import RunConfig
from pangu_alpha.parallel.parts import owned_boxes

_POLL = 0.1


class AbsentRanks:
    """Writes their parts into every checkpoint that the others begin, by the code of the others.

    The parts are zeros, in files with holes: of the right size and with the right checksums, but without space on the
    disk. As a context manager it raises its own error, if it had one, at the end.
    """

    def __init__(
        self, root: Path, config: RunConfig, present: Collection[int], give_up: Callable[[], None] = lambda: None
    ) -> None:
        """Args:
        root: folder of the run's checkpoints.
        config: of the run.
        present: the ranks that have a process.
        give_up: called after an error, so that the others need not wait.
        """
        self._root, self._config = root, config
        self._ranks = [rank for rank in range(config.parallel.num_devices) if rank not in present]
        self._give_up = give_up
        self._done: set[Save] = set()
        self._is_over = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="absent ranks", daemon=True)

    def __enter__(self) -> AbsentRanks:
        self._done = set(saves_in(self._root))  # what an earlier start has left
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        if not self._ranks:
            return
        try:
            while not self._is_over.wait(_POLL):
                for save in set(saves_in(self._root)) - self._done:
                    self._done.add(save)
                    self._write(save)
        except Exception as error:  # told by the thread that waits for the job
            self._error = error
            self._give_up()

    def _write(self, save: Save) -> None:
        for rank in self._ranks:
            if self._is_over.is_set():
                return
            save_part(save, rank, owned_boxes(self._config.model, self._config.parallel, rank), None)
