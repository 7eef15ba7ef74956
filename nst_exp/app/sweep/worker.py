"""A process that a launcher has started for jobs of a sweep: how it is told to stop."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from nst_exp.app.sweep.launchers import goes_on
from nst_exp.utils.signals import ENDING

log = logging.getLogger("nst_exp")

_EVERY = 1.0  # seconds between two looks; many workers may share a file system
_REQUEUE = getattr(signal, "SIGUSR2", None)  # submitit's, some time before a job's limit


class Worker:
    """A job in this process: stop requests from whatever side reach it as SIGTERM."""

    def __init__(self, sweep: Path) -> None:
        self.sweep = sweep
        self.requeue: Callable[[], None] | None = None
        self.listens = threading.current_thread() is threading.main_thread()

    def listen(self) -> None:
        """Signals end a run that listens, and nothing else: the process may have other jobs."""
        for number in ENDING:
            signal.signal(number, _pass)
        if _REQUEUE is not None and callable(before := signal.getsignal(_REQUEUE)):
            signal.signal(_REQUEUE, lambda number, _: self._ask(before, number))

    def _ask(self, handler: Callable[[int, FrameType | None], Any], number: int) -> None:
        """submitit's handler ends the process at once; it has its turn when all is saved."""

        def requeue() -> None:
            handler(number, None)

        self.requeue = requeue


class _Process:
    """This process, which may have one job after the other."""

    def __init__(self) -> None:
        self.job: Worker | None = None
        self.parent = os.getppid()
        self.looks = False

    def look(self) -> None:
        """For ever. A job is told again and again: it listens only while it optimizes."""
        while True:
            time.sleep(_EVERY)
            job, orphaned = self.job, os.getppid() != self.parent
            if job is None:
                if orphaned:  # the others of a launcher's processes would wait for minutes
                    os._exit(1)
            elif orphaned or job.requeue is not None or not goes_on(job.sweep):
                signal.raise_signal(signal.SIGTERM)


_process = _Process()


def _pass(number: int, frame: FrameType | None) -> None:
    """Do nothing; to ignore a signal altogether would be inherited by child processes."""


@contextmanager
def as_worker(sweep: Path, written: Path) -> Iterator[Worker]:
    """Within, the launch of the sweep in this folder can stop the job.

    What libraries say on the screen, which many workers share, goes to the file ``written``.
    """
    worker = Worker(sweep)
    with (
        open(written, "a", encoding="utf-8", buffering=1) as stream,
        redirect_stdout(stream),
        redirect_stderr(stream),
    ):
        if worker.listens:
            worker.listen()
            _process.job = worker
            if not _process.looks:
                _process.looks = True
                threading.Thread(target=_process.look, daemon=True).start()
        try:
            yield worker
        finally:
            _process.job = None


def leave_no_trace(folder: Path, written: Path) -> None:
    """Remove what Hydra wrote for a job that does not begin, if nothing else is there."""
    if (folder / "result.json").exists():
        return
    with suppress(OSError):
        for path in (folder / ".hydra").glob("*.yaml"):
            path.unlink()
        (folder / ".hydra").rmdir()
        if written.stat().st_size == 0:
            written.unlink()
        folder.rmdir()
