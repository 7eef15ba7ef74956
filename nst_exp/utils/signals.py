"""Signals that end a run: Ctrl-C, SIGTERM, SIGHUP when the terminal is closed, and SIGUSR1, with
which SLURM can be asked to warn of the end of a job's time.

While steps are made, the first signal asks for an end behind the present step, so that everything
can be saved; anywhere else, and for a second signal, the run ends where it is.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

ENDING: tuple[int, ...] = tuple(  # Windows lacks the last one
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_WARNING: int | None = getattr(signal, "SIGUSR1", None)


def exit_code(number: int) -> int:
    """128 + the signal's number, as shells report it."""
    return 128 + number


class SignalReceived(BaseException):
    """A signal has come. Not an Exception, which a library might take for a failure of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = number


class StopRequest:
    """Which signal asked the run to stop, if any."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.stepping = False  # steps are made, and look at ``signal`` themselves
        self._listen: Callable[[], None] = lambda: None

    def step(self) -> None:
        """From now on steps are made. Lightning has put a handler of its own before this one."""
        self.stepping = True
        self._listen()


def _stop_now(number: int, frame: FrameType | None) -> None:
    raise SignalReceived(number)


def _ends_the_process(handler: Any) -> bool:
    return handler in (signal.SIG_DFL, signal.default_int_handler, _stop_now)


def handled_signals() -> Iterator[int]:
    """Signals that mean an end here: not those that are ignored, as by nohup or a shell's ``&``."""
    for number in ENDING:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            yield number
    if _WARNING is not None and _ends_the_process(signal.getsignal(_WARNING)):
        yield _WARNING


@contextmanager
def stop_at_once() -> Iterator[None]:
    """Within, all but Ctrl-C raise SignalReceived instead of ending the process without a word."""
    before: dict[int, Any] = {}
    for number in handled_signals():
        if signal.getsignal(number) == signal.SIG_DFL:
            before[number] = signal.signal(number, _stop_now)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stop_requests(enabled: bool) -> Iterator[StopRequest]:
    """Catch what would end the process: as a request while steps are made, else as SignalReceived.

    After the first one, signals do what they did before, but for ending the process: a second one
    raises SignalReceived. Those that were ignored before stay ignored.
    """
    request = StopRequest()
    before: dict[int, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        first, request.signal = request.signal is None, request.signal or number
        if first and request.stepping:
            with suppress(OSError, ValueError, RuntimeError):  # gone, or in the midst of a write
                print("\nstopping after this step; once more stops at once", file=sys.stderr)
        elif first or _ends_the_process(before[number]):
            raise SignalReceived(number)
        elif callable(before[number]):
            before[number](number, frame)

    def listen() -> None:
        for number in before:
            signal.signal(number, handle)

    for number in handled_signals() if enabled else ():
        before[number] = signal.getsignal(number)
    listen()
    request._listen = listen
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
