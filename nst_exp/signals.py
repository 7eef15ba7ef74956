"""Ctrl-C and SIGTERM end a run at the end of its present step, with everything saved."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class StopRequest:
    """Which signal asked the run to stop, if any."""

    def __init__(self) -> None:
        self.signal: int | None = None

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as shells report it."""
        return 128 + (self.signal or 0)


@contextmanager
def stop_requests(enabled: bool) -> Iterator[StopRequest]:
    """Catch the first SIGINT or SIGTERM; a second one ends the process as usual."""
    request = StopRequest()
    if not enabled:
        yield request
        return
    before: dict[int, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        request.signal = number
        for known, handler in before.items():
            signal.signal(known, handler)
        print("\nstopping after this step; once more stops at once", file=sys.stderr, flush=True)

    for caught in (signal.SIGINT, signal.SIGTERM):
        before[caught] = signal.signal(caught, handle)
    try:
        yield request
    finally:
        for caught_before, handler in before.items():
            signal.signal(caught_before, handler)


class Stopped(Exception):
    """Raised between two steps, after the checkpoint was written."""


class StopBetweenSteps(Callback):
    """Ends fit() at a step's end once a stop is requested, leaving a checkpoint at that step."""

    def __init__(self, request: StopRequest, checkpoint: str | None) -> None:
        self.request, self.checkpoint = request, checkpoint

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """Look whether a signal has come."""
        if self.request.signal is not None:
            if self.checkpoint is not None:
                trainer.save_checkpoint(self.checkpoint)
            raise Stopped
