"""Signals that end a run: Ctrl-C, SIGTERM, SIGHUP of a closed terminal, and SIGUSR1 of SLURM.

While a run makes steps, the first signal requests a stop after the current step, so that everything
can be saved. At any other time, and for a second signal, ``SignalReceived`` is raised.
"""

import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

# Windows has neither SIGHUP nor SIGUSR1.
_ENDING = tuple(getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n))
_WARNING = (signal.SIGUSR1,) if hasattr(signal, "SIGUSR1") else ()  # SLURM: little time is left


class SignalReceived(BaseException):
    """A signal was received; not an Exception, which a library could take for its own failure."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = number


def reraise_interruption() -> None:
    """Raise the signal again during whose handling the current exception was raised, if any.

    A signal may come while a library restores its state, whose own error then hides it.
    """
    error = sys.exception()
    while error is not None:
        if isinstance(error, SignalReceived | KeyboardInterrupt):
            raise error
        error = error.__cause__ or error.__context__


class StopRequest:
    """The signal that requested a stop of the run, if any."""

    def __init__(self, previous: dict[int, Any]) -> None:
        self.signal: int | None = None
        self.by_caller = False  # a stop that no signal requested
        self.stepping = False  # the run makes steps, and checks ``stops`` after each
        self._previous = previous  # signal -> handler

    @property
    def stops(self) -> bool:
        """Whether the run is to end after the current step."""
        return self.by_caller or self.signal is not None

    def step(self) -> None:
        """Begin to make steps; Lightning has set its own handlers, which are replaced again."""
        self.stepping = True
        for number in self._previous:
            signal.signal(number, self.handle)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note the first signal while steps are made; otherwise raise, or call its old handler."""
        first, self.signal = self.signal is None, self.signal or number
        previous = self._previous[number]
        if first and self.stepping:
            with suppress(OSError, ValueError, RuntimeError):  # closed, or in the middle of a write
                print("\nstopping after this step; once more stops at once", file=sys.stderr)
        elif first or _ends_process(previous):
            raise SignalReceived(number)
        elif callable(previous):
            previous(number, frame)


@contextmanager
def stop_at_once() -> Iterator[None]:
    """Raise ``SignalReceived`` for a signal that would end the process without a message."""
    with _handler([n for n in _handled() if signal.getsignal(n) == signal.SIG_DFL], _raise):
        yield


@contextmanager
def stop_requests(every_signal: bool) -> Iterator[StopRequest]:
    """Handle signals as a request while steps are made, and raise ``SignalReceived`` otherwise.

    Without ``every_signal`` only Ctrl-C is handled, and only where Python would raise
    KeyboardInterrupt for it.
    """
    numbers = _handled() if every_signal else _interruption()
    request = StopRequest({number: signal.getsignal(number) for number in numbers})
    with _handler(numbers, request.handle):
        yield request


def _handled() -> list[int]:
    """Return the signals that end a run, without those ignored by nohup or a shell's ``&``."""
    ending = [n for n in _ENDING if signal.getsignal(n) not in (signal.SIG_IGN, None)]
    return ending + [n for n in _WARNING if _ends_process(signal.getsignal(n))]


def _interruption() -> list[int]:
    in_main = threading.current_thread() is threading.main_thread()
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return [signal.SIGINT] if in_main and usual else []


@contextmanager
def _handler(numbers: Iterable[int], handler: Any) -> Iterator[None]:
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in previous.items():
            signal.signal(number, earlier)


def _raise(number: int, frame: FrameType | None) -> None:
    raise SignalReceived(number)


def _ends_process(handler: Any) -> bool:
    return handler in (signal.SIG_DFL, signal.default_int_handler, _raise)
