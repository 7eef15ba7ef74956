"""Trials in forked children, so that a crash, a hang or a word on the screen is seen as a failure.

POSIX alone.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ALARM = 5.0  # seconds after which Python is interrupted
PATIENCE = 20.0  # seconds without a result after which a child is killed: it hangs in C


@dataclass(frozen=True)
class Ending:
    """How one trial ended."""

    number: int
    result: Any = None  # what the trial returned
    lost: str = ""  # why there is no result: an exception, a hang, a signal
    said: str = ""  # what was written to stdout and stderr
    seconds: float = 0.0
    megabytes: float = 0.0  # by which the child's peak of memory grew


class _TooLong(BaseException):
    """Not an Exception: whatever catches those must not take the alarm for an error."""


def in_children(
    trial: Callable[[int], Any], numbers: Sequence[int], folder: Path, batch: int = 2000
) -> Iterator[Ending]:
    """Do ``trial`` for each number, ``batch`` of them per child, in order.

    A child that crashes or hangs costs the trial that it was at; the next child goes on behind it.
    """
    at = 0
    while at < len(numbers):
        wanted = numbers[at : at + batch]
        endings, how = _child(trial, wanted, folder)
        yield from endings
        at += len(endings)
        if len(endings) < len(wanted):
            yield Ending(numbers[at], lost=how)
            at += 1


def _child(
    trial: Callable[[int], Any], numbers: Sequence[int], folder: Path
) -> tuple[list[Ending], str]:
    """The endings as far as they go, and how the child itself ended."""
    results, output = folder / "endings", folder / "output"
    results.write_bytes(b"")
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        try:
            _work(trial, numbers, results, output)
            os._exit(0)
        finally:
            os._exit(1)
    code = _wait(pid, results)
    endings: list[Ending] = []
    with results.open("rb") as stream, suppress(EOFError, pickle.UnpicklingError):
        while True:
            endings.append(pickle.load(stream))
    if code is None:
        return endings, f"no answer for {PATIENCE:.0f} s: killed"
    return endings, f"killed by signal {-code}" if code < 0 else f"the child ended with {code}"


def _wait(pid: int, results: Path) -> int | None:
    """The exit code, negative for a signal; None where nothing more came."""
    size, since = 0, time.monotonic()
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if (now := results.stat().st_size) != size:
            size, since = now, time.monotonic()
        if time.monotonic() - since > PATIENCE:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(0.01)


def _work(trial: Callable[[int], Any], numbers: Sequence[int], results: Path, output: Path) -> None:
    signal.signal(signal.SIGALRM, _interrupt)
    screen = os.open(output, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    for descriptor in (1, 2):
        os.dup2(screen, descriptor)
    # What prints in Python must land there as well, wherever the parent's streams lead.
    sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
    with results.open("wb", buffering=0) as stream:
        for number in numbers:
            stream.write(pickle.dumps(_end(trial, number, screen)))


def _end(trial: Callable[[int], Any], number: int, screen: int) -> Ending:
    before, peak, begun = os.fstat(screen).st_size, _peak(), time.monotonic()
    result, lost = None, ""
    try:
        with _alarm(ALARM):
            result = trial(number)
    except _TooLong:
        lost = f"hung for {ALARM:.0f} s"
    except Exception as error:
        lost = f"raised {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    seconds = time.monotonic() - begun
    sys.stdout.flush()
    sys.stderr.flush()
    more = os.fstat(screen).st_size - before
    said = os.pread(screen, min(more, 300), before).decode("utf-8", "replace") if more else ""
    return Ending(number, result, lost, said, seconds, _peak() - peak)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _interrupt(*_: object) -> None:
    raise _TooLong


def _peak() -> float:
    """The largest resident memory so far in MB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)
