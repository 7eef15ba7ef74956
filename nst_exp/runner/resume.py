"""Checkpoints: when they are written, and what an interrupted run is resumed from."""

import logging
import math
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

IMAGE_ONLY = {"image_only": True}  # as Lightning's storage_options
LARGEST_SHARE = 0.05  # of a run's time, for checkpoints


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write checkpoints that are either complete or absent.

    Lightning writes to the system's temporary folder first. If that is another file system, moving
    the file is a copy that can be cut off.
    """

    def __init__(self, gigabytes: float | None = None) -> None:
        """Leave the states of optimizers out if they have more than so many 10^9 bytes."""
        super().__init__()
        self.gigabytes = gigabytes

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write to a temporary file beside ``path``, then rename it.

        Of a run that is done, with ``IMAGE_ONLY`` as options, no state of the optimizer is written.
        """
        if storage_options == IMAGE_ONLY:
            checkpoint = _image_only(checkpoint)
        optimizers = checkpoint.get("optimizer_states", [])
        if self.gigabytes is not None and _bytes_of(optimizers) > 1e9 * self.gigabytes:
            checkpoint = _without_state(checkpoint)
            log.warning(
                "trainer.checkpoint_gigabytes=%g: the optimizer's state is larger, so checkpoints "
                "are without it, and a run that resumes starts the optimizer afresh",
                self.gigabytes,
            )
        write_atomically(Path(path), lambda file: torch.save(checkpoint, file))


def _without_state(checkpoint: dict[str, Any]) -> dict[str, Any]:
    small = [optimizer | {"state": {}} for optimizer in checkpoint["optimizer_states"]]
    return checkpoint | {"optimizer_states": small}


def _image_only(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Leave out the optimizer's state, and the best image with its totals."""
    module = {k: v for k, v in checkpoint["style_transfer"].items() if k != "best_values"}
    module |= dict.fromkeys(("best_total", "improved_total"), math.inf)
    return _without_state(checkpoint) | {"style_transfer": module}


def _bytes_of(value: Any) -> int:
    """Add up the bytes of all tensors in nested lists and dicts."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    entries = value.values() if isinstance(value, dict) else value
    return sum(map(_bytes_of, entries)) if isinstance(value, dict | list) else 0


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
        at_end: bool = False,
    ) -> None:
        """Write to ``path``, unless it is None; also before and after all steps if asked for.

        ``state`` returns the run's fields of ResumePoint: numbers and strings, which torch loads
        with weights_only=True.
        """
        self.path, self.pause, self.request = path, 60.0 * minutes, request
        self.state, self.at_start, self.at_end = state, at_start, at_end
        self.saved = time.monotonic()

    def save(self, trainer: pl.Trainer) -> None:
        """Write the checkpoint; the next one waits so long that writing takes a small share."""
        begun = time.monotonic()
        if self.path is not None:
            trainer.save_checkpoint(self.path)
        self.saved = time.monotonic()
        self.pause = max(self.pause, (self.saved - begun) / LARGEST_SHARE)

    def on_train_start(self, trainer: pl.Trainer, *args: Any) -> None:
        """Let signals wait for the end of a step; until now they end the run at once."""
        self.request.step()
        if self.at_start:
            self.save(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Write a checkpoint if it is due, and stop if that is requested."""
        stopped = self.request.stops
        if stopped or time.monotonic() - self.saved >= self.pause:
            self.save(trainer)
        if stopped:
            raise Stopped

    def on_train_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Write the state after the last step if asked for."""
        if self.at_end:
            self.save(trainer)

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
        point = ResumePoint(step=int(loaded["global_step"]), **loaded["run"])
    except OSError as error:  # it may be readable again later, so the run does not start afresh
        raise OutputError(f"{path}: cannot be read: {error.strerror}; try again") from error
    except Exception as error:  # torch raises many types for a damaged file
        log.warning("%s: cannot be read (%s); the run starts again", path, error)
        return None
    if point.step and not any(entry["state"] for entry in loaded["optimizer_states"]):
        log.warning(
            "the checkpoint is without the optimizer's state, so the optimizer starts afresh and "
            "the result differs from that of an uninterrupted run; keep_checkpoint=true keeps the "
            "state of a run that is done"
        )
    return point
