"""Checkpoints: when they are written, and what an interrupted run is resumed from."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import Callback

from nst_exp.utils.atomic_files import write_atomically
from nst_exp.utils.errors import OutputError
from nst_exp.utils.signals import StopRequest

log = logging.getLogger(__name__)

CHECKPOINT = "last.ckpt"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write checkpoints that are either complete or absent.

    Lightning writes to the system's temporary folder first. If that is another file system, moving
    the file is a copy that can be cut off.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write to a temporary file beside ``path``, then rename it."""
        write_atomically(Path(path), lambda file: torch.save(checkpoint, file))


class Stopped(Exception):
    """Raised after a step, when the checkpoint is written."""


class Checkpoints(Callback):
    """Writes the checkpoint every few minutes, and ends fit() with one once a stop is requested."""

    def __init__(
        self,
        path: Path | None,
        minutes: float,
        request: StopRequest,
        state: Callable[[], dict[str, Any]],
        at_start: bool,
    ) -> None:
        """Write to ``path``, unless it is None; before the first step as well if ``at_start``.

        ``state`` returns the run's fields of ResumePoint: numbers and strings, which torch loads
        with weights_only=True.
        """
        self.path, self.seconds, self.request = path, 60.0 * minutes, request
        self.state, self.at_start = state, at_start
        self.saved = time.monotonic()

    def save(self, trainer: pl.Trainer) -> None:
        """Write the checkpoint."""
        if self.path is not None:
            trainer.save_checkpoint(self.path)
        self.saved = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, *args: Any) -> None:
        """Let signals wait for the end of a step; until now they end the run at once."""
        self.request.step()
        if self.at_start:
            self.save(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Write a checkpoint if it is due, and stop if a signal has come."""
        stopped = self.request.signal is not None
        if stopped or time.monotonic() - self.saved >= self.seconds:
            self.save(trainer)
        if stopped:
            raise Stopped

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the state of the run to that of the module."""
        checkpoint["run"] = self.state()


@dataclass(frozen=True)
class ResumePoint:
    """Where an interrupted run is resumed."""

    level: int
    step: int  # steps of that level that are done
    seconds: float  # that the run has taken until then
    block: int | None  # side of the level's blocks
    warnings: list[str]


def read_checkpoint(path: Path) -> ResumePoint | None:
    """Read the checkpoint of an interrupted run; None if there is none that can be read.

    Raises:
        OutputError: If the file is there but the operating system does not let it be read.
    """
    if not path.is_file():
        return None
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        return ResumePoint(step=int(loaded["global_step"]), **loaded["run"])
    except OSError as error:  # it may be readable again later, so the run does not start afresh
        raise OutputError(f"{path}: cannot be read: {error.strerror}; try again") from error
    except Exception as error:  # torch raises many types for a damaged file
        log.warning("%s: cannot be read (%s); the run starts again", path, error)
        return None
