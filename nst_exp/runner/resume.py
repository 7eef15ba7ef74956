"""What an interrupted run is resumed from: its checkpoint and its file of losses."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

from nst_exp.results.losses_csv import NAME, LossFile
from nst_exp.runner.module import StyleTransfer
from nst_exp.utils.atomic_files import write_atomically
from nst_exp.utils.errors import OutputError

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


class RunState(Callback):
    """Adds the state of the run, beside that of the module, to every checkpoint.

    A level that does not start the run gets a checkpoint before its first step: the minutes of
    periodic checkpoints count from there.
    """

    def __init__(
        self, seconds: Callable[[], float], warnings: list[str], at_start: Path | None
    ) -> None:
        """Take the run's clock and warnings, and the checkpoint to write before the first step."""
        self.seconds, self.warnings, self.at_start = seconds, warnings, at_start

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the level's first checkpoint."""
        if self.at_start is not None:
            trainer.save_checkpoint(self.at_start)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add plain numbers and strings, which torch loads with weights_only=True."""
        assert isinstance(pl_module, StyleTransfer)
        checkpoint["run"] = {
            "level": pl_module.level,
            "seconds": self.seconds(),
            "warnings": list(self.warnings),
        }


def periodic_checkpoints(folder: Path | None, minutes: float) -> list[Callback]:
    """Make the callback that writes a checkpoint every so many minutes; [] without a folder."""
    if folder is None:
        return []
    checkpoints = ModelCheckpoint(
        folder,
        filename=Path(CHECKPOINT).stem,
        train_time_interval=timedelta(minutes=minutes),
        enable_version_counter=False,
    )
    return [checkpoints]


@dataclass(frozen=True)
class ResumePoint:
    """Where an interrupted run is resumed."""

    path: Path  # of the checkpoint
    level: int
    step: int  # steps of that level that are done
    seconds: float  # that the run has taken until then
    warnings: list[str]


def read_checkpoint(folder: Path) -> ResumePoint | None:
    """Read the checkpoint of an interrupted run; None if there is none that can be read.

    Raises:
        OutputError: If the file is there but the operating system does not let it be read.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        data = path.read_bytes()
    except OSError as error:  # it may be readable again later, so the run does not start afresh
        raise OutputError(f"{path}: cannot be read: {error.strerror}; try again") from error
    try:
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        return ResumePoint(path, step=int(loaded["global_step"]), **loaded["run"])
    except Exception as error:  # torch raises many types for a damaged file
        log.warning("%s: cannot be read (%s); the run starts again", path, error)
        return None


def open_losses(folder: Path | None, done: int, wanted: bool) -> LossFile | None:
    """Open the run's ``losses.csv`` with its first ``done`` steps; None if it is not wanted."""
    if folder is None:
        return None
    losses = LossFile(folder / NAME)
    if not wanted:
        losses.discard()
        return None
    losses.open(done)
    return losses
