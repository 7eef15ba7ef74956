"""Ctrl-C and SIGTERM for the process that has started the jobs of a sweep elsewhere."""

from __future__ import annotations

import _thread
import signal
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from nst_exp.app.console import show_error
from nst_exp.app.sweep import launchers as launch
from nst_exp.utils.errors import NstError
from nst_exp.utils.signals import exit_code, handled_signals


class Stops:
    """The first signal asks the jobs to stop; a second one ends the waiting for them."""

    def __init__(self, folder: Path) -> None:
        """Listens from now on; ``folder`` is the sweep's."""
        self.folder = folder
        self.signal: int | None = None
        self.hopeless = False  # no job will come home any more
        self.before: dict[int, Any] = {
            number: signal.signal(number, self._handle) for number in list(handled_signals())
        }

    @property
    def wanted(self) -> bool:
        """Whether the jobs are to stop: a signal, a job's fail_fast, or another launch."""
        return not launch.goes_on(self.folder)

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as shells report it; 0 for none."""
        return exit_code(self.signal) if self.signal else 0

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.hopeless or self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        with suppress(NstError, OSError):
            launch.stop(self.folder)
        with suppress(RuntimeError):  # it came in the midst of a write
            show_error("\nstopping: the jobs save what they have; once more stops at once")

    def give_up(self) -> None:
        """From another thread: end the waiting."""
        self.hopeless = True
        _thread.interrupt_main(next(iter(self.before), signal.SIGINT))

    def close(self) -> None:
        """Signals do what they did before."""
        for number, handler in self.before.items():
            signal.signal(number, handler)
