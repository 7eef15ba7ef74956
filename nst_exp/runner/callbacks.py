"""What happens beside the optimization: the progress bar, TensorBoard, snapshots, checkpoints."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger
from tqdm import tqdm

from nst_exp.config import schema as config
from nst_exp.config.pyramid import Level
from nst_exp.images.save import save_image
from nst_exp.images.tensors import to_array
from nst_exp.results.losses_csv import LossFile
from nst_exp.runner.module import StyleTransfer
from nst_exp.utils.atomic_files import write_atomically
from nst_exp.utils.signals import StopRequest


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints that are complete or absent.

    Lightning writes to the system's temporary folder first, which may be another file system; the
    move into place is then a copy that can be cut off.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write to a temporary file beside ``path``, then rename."""
        write_atomically(Path(path), lambda file: torch.save(checkpoint, file))


def snapshot_name(step: int) -> str:
    """Of the picture of the image after ``step`` steps, in the folder of snapshots."""
    return f"step_{step:06d}.png"


def _remaining(seconds: float) -> str:
    return str(tqdm.format_interval(max(0.0, seconds)))


class Progress(Callback):
    """One bar for the whole run, over all levels of a pyramid.

    The time left is worked out from pixels times steps, since a step of a large level takes
    longer than one of a small level.
    """

    def __init__(self, levels: list[Level], pixels: list[int], done: int, enabled: bool) -> None:
        """``pixels`` per level; ``done`` steps were made before (by an interrupted run)."""
        self.levels, self.pixels = levels, pixels
        self.level = levels[0]
        self.total = sum(level.steps for level in levels)
        self.bar: tqdm[Any] = tqdm(
            total=self.total,
            initial=done,
            disable=not enabled,
            unit="step",
            dynamic_ncols=True,
            leave=None,  # stays, unless it stands below the bar of a sweep
            mininterval=0.2 if sys.stderr.isatty() else 10.0,  # a log file needs fewer lines
            bar_format="{percentage:3.0f}% {bar} {n}/{total} [{elapsed} < {desc}{postfix}]",
        )
        self.work_at_start = self._work(done)
        self.started = time.monotonic()

    def _work(self, step: int) -> int:
        """Pixel-steps in the first ``step`` steps of the run."""
        return sum(
            min(max(step - level.first_step, 0), level.steps) * pixels
            for level, pixels in zip(self.levels, self.pixels, strict=True)
        )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """Advance, and show the losses of the step."""
        assert isinstance(pl_module, StyleTransfer)
        if self.bar.disable or pl_module.losses is None:
            return
        step = self.level.first_step + trainer.global_step
        work, total = self._work(step), self._work(self.total)
        elapsed = time.monotonic() - self.started
        left = elapsed * (total - work) / max(work - self.work_at_start, 1)
        losses = pl_module.losses.as_floats()
        shown = " ".join(f"{name} {losses[name]:.3e}" for name in ("total", "content", "style"))
        size = f", {self.level.size} px" if len(self.levels) > 1 else ""
        self.bar.set_description_str(f"{_remaining(left)}{size}", refresh=False)
        self.bar.set_postfix_str(f"{shown} eval {pl_module.evaluations}", refresh=False)
        self.bar.update(step - self.bar.n)

    def around(self, report: Callable[[str], None], line: str) -> None:
        """Report a line without breaking the bar."""
        with self.bar.external_write_mode():
            report(line)

    def close(self) -> None:
        """Leave the bar as it is."""
        self.bar.close()


class Recorder(Callback):
    """Curves and pictures over time, to TensorBoard, ``losses.csv`` and ``snapshots/``.

    Step k is the image after k steps of the whole run; its losses are those of the objective's
    lowest evaluation within that step.
    """

    def __init__(
        self,
        settings: config.Logging,
        steps: int,
        logger: TensorBoardLogger | None,
        folder: Path | None,
        losses: LossFile | None = None,
    ) -> None:
        """``steps`` of the whole run; ``folder`` is that of the snapshots, None for none."""
        self.settings, self.steps, self.logger, self.folder = settings, steps, logger, folder
        self.losses = losses
        self.level: Level | None = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """Write what is due at this step."""
        assert isinstance(pl_module, StyleTransfer)
        assert self.level is not None
        step = self.level.first_step + trainer.global_step
        if step % self.settings.every == 0 and pl_module.losses:
            losses = pl_module.losses.as_floats()
            if self.losses is not None:
                self.losses.append(step, pl_module.evaluations, losses)
            if self.logger is not None:
                values = {f"loss/{k}": v for k, v in losses.items()}
                values["progress/evaluations"] = pl_module.evaluations
                values["progress/size"] = self.level.size
                self.logger.log_metrics(values, step)
        due = self.settings.image_every and step % self.settings.image_every == 0
        if due and step < self.steps:  # the last picture is the saved one, recorded at the end
            self.picture(pl_module.result_image(), step)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """A run that goes on from here does not record again what was before."""
        if self.logger is not None:
            self.logger.experiment.flush()

    def picture(self, image: torch.Tensor, step: int) -> None:
        """Record an image (1, 3, H, W) under ``step``."""
        if not torch.isfinite(image).all():
            return  # the guard puts the image back before the next step
        pixels = to_array(image)
        if self.logger is not None:
            self.logger.experiment.add_image("image", pixels, step, dataformats="HWC")
        if self.folder is not None:
            save_image(pixels, self.folder / snapshot_name(step))


class LevelCheckpoint(Callback):
    """Leaves a checkpoint where a level begins: the minutes of periodic ones count from there."""

    def __init__(self, path: str) -> None:
        self.path = path

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Before the level's first step; the image is what the level before has made."""
        trainer.save_checkpoint(self.path)


class Stopped(Exception):
    """Raised between two steps, after the checkpoint was written."""


class StopBetweenSteps(Callback):
    """Ends fit() at a step's end once a stop is requested, leaving a checkpoint at that step."""

    def __init__(self, request: StopRequest, checkpoint: str | None) -> None:
        self.request, self.checkpoint = request, checkpoint

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Until now a signal ends the run where it is."""
        self.request.step()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """Look whether a signal has come."""
        if self.request.signal is not None:
            if self.checkpoint is not None:
                trainer.save_checkpoint(self.checkpoint)
            raise Stopped
