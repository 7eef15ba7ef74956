"""What happens beside the optimization: the progress bar, curves, snapshots, and the stop."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from tqdm import tqdm

from nst_exp.config import schema as config
from nst_exp.config.pyramid import Level
from nst_exp.images.save import save_image
from nst_exp.images.tensors import to_array
from nst_exp.results.losses_csv import LossFile
from nst_exp.runner.logger import RunLogger
from nst_exp.runner.module import StyleTransfer
from nst_exp.utils.signals import StopRequest


class Progress(Callback):
    """One progress bar for the whole run, over all levels of a pyramid.

    It counts pixels times steps, since a step of a large level takes longer than one of a small
    level; so the time left is right from the first level on.
    """

    def __init__(self, levels: list[Level], pixels: list[int], done: int, enabled: bool) -> None:
        """Start the bar after ``done`` steps; ``pixels`` are those of each level."""
        self.levels, self.pixels = levels, pixels
        self.level = levels[0]
        self.steps = sum(level.steps for level in levels)
        self.bar: tqdm[Any] = tqdm(
            total=self.work(self.steps),
            initial=self.work(done),
            disable=not enabled,
            dynamic_ncols=True,
            smoothing=0,  # the time left is estimated from all steps
            leave=None,  # stays, unless it stands below the bar of a sweep
            mininterval=0.2 if sys.stderr.isatty() else 10.0,  # a log file needs fewer lines
            bar_format="{percentage:3.0f}% {bar} {desc}[{elapsed} < {remaining}{postfix}]",
        )

    def work(self, step: int) -> int:
        """Return the pixels times steps in the first ``step`` steps of the run."""
        return sum(
            min(max(step - level.first_step, 0), level.steps) * pixels
            for level, pixels in zip(self.levels, self.pixels, strict=True)
        )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """Advance the bar and show the losses of the step."""
        assert isinstance(pl_module, StyleTransfer)
        if self.bar.disable or pl_module.losses is None:
            return
        step = self.level.first_step + trainer.global_step
        losses = pl_module.losses.as_floats()
        sums = " ".join(f"{name} {losses[name]:.3e}" for name in ("total", "content", "style"))
        size = f"{self.level.size} px, " if len(self.levels) > 1 else ""
        self.bar.set_description_str(f"{step}/{self.steps} ", refresh=False)
        self.bar.set_postfix_str(f"{size}{sums} eval {pl_module.evaluations}", refresh=False)
        self.bar.update(self.work(step) - self.bar.n)

    def close(self) -> None:
        """Leave the bar on the screen as it is."""
        self.bar.close()


class Recorder(Callback):
    """Records losses and images over time: to TensorBoard, ``losses.csv`` and ``snapshots/``.

    Step k is the image after k steps of the whole run; its losses are those of the lowest
    evaluation within that step.
    """

    def __init__(
        self,
        settings: config.Logging,
        steps: int,
        logger: RunLogger | None = None,
        snapshots: Path | None = None,
        losses: LossFile | None = None,
    ) -> None:
        """Take the steps of the whole run, and where to record; None is left out."""
        self.settings, self.steps, self.logger = settings, steps, logger
        self.snapshots, self.losses = snapshots, losses
        self.level: Level | None = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """Record what is due at this step."""
        assert isinstance(pl_module, StyleTransfer)
        assert self.level is not None
        step = self.level.first_step + trainer.global_step
        if step % self.settings.every == 0 and pl_module.losses:
            losses = pl_module.losses.as_floats()
            if self.losses is not None:
                self.losses.append(step, pl_module.evaluations, losses)
            if self.logger is not None:
                values = {f"loss/{name}": value for name, value in losses.items()}
                values["progress/evaluations"] = pl_module.evaluations
                values["progress/size"] = self.level.size
                self.logger.log_metrics(values, step)
        due = self.settings.image_every and step % self.settings.image_every == 0
        if due and step < self.steps:  # the last image is the saved one, recorded at the end
            self.record_image(pl_module.result_image(), step)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Flush TensorBoard: a run resumed from here does not record the steps before again."""
        if self.logger is not None:
            self.logger.experiment.flush()

    def record_image(self, image: torch.Tensor, step: int) -> None:
        """Record an image (1, 3, H, W) under ``step``."""
        if not torch.isfinite(image).all():
            return  # the divergence guard restores the best image before the next step
        pixels = to_array(image)
        if self.logger is not None:
            self.logger.experiment.add_image("image", pixels, step, dataformats="HWC")
        if self.snapshots is not None:
            save_image(pixels, self.snapshots / f"step_{step:06d}.png")


class Stopped(Exception):
    """Raised after a step, when the checkpoint is written."""


class StopBetweenSteps(Callback):
    """Ends fit() after the current step once a stop is requested, with a checkpoint."""

    def __init__(self, request: StopRequest, checkpoint: Path | None) -> None:
        """Watch ``request``; write to ``checkpoint`` unless it is None."""
        self.request, self.checkpoint = request, checkpoint

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let signals wait for the end of a step; until now they end the run at once."""
        self.request.step()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """Stop if a signal has come."""
        if self.request.signal is not None:
            if self.checkpoint is not None:
                trainer.save_checkpoint(self.checkpoint)
            raise Stopped
