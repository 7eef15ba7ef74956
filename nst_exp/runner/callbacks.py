"""What is shown and recorded beside the optimization: the progress bar, curves and snapshots."""

import sys
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch.utils.tensorboard.writer import SummaryWriter
from tqdm import tqdm

from nst_exp.config import schema as config
from nst_exp.config.pyramid import Level
from nst_exp.images.save import save_image
from nst_exp.images.tensors import reduce, to_array
from nst_exp.results.losses_csv import LOSSES, NAME, Row, append_losses, start_losses
from nst_exp.runner.logger import SAVED_LOSSES
from nst_exp.runner.module import StyleTransfer

SLOW_SECONDS = 2.0  # of an evaluation, after which its blocks are shown
LARGEST_IMAGE = 1024  # longer side in TensorBoard and snapshots; larger ones take time and space


class Progress(Callback):
    """One progress bar for the whole run, over all levels of a pyramid.

    It counts pixels times steps, since a step of a large level takes longer than one of a small
    level; so the time left is right from the first level on.
    """

    def __init__(self, levels: list[Level], pixels: list[int], done: int, enabled: bool) -> None:
        """Start the bar after ``done`` steps; ``pixels`` are those of each level."""
        self.levels, self.pixels = levels, pixels
        self.level = levels[0]
        self.evaluation_start = self.shown = 0.0
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

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the blocks of an image that is computed in blocks."""
        assert isinstance(pl_module, StyleTransfer)
        if pl_module.tiled is not None and not self.bar.disable:
            pl_module.tiled.on_block = self._show_block

    def _show_block(self, done: int, total: int) -> None:
        """Show how far an evaluation is, if it has taken a while."""
        now = time.monotonic()
        if done == 1:
            self.evaluation_start = now
        if now - self.evaluation_start > SLOW_SECONDS and now - self.shown > self.bar.mininterval:
            self.shown = now
            self.bar.set_postfix_str(f"{self.level.size} px, block {done} of {total}")

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


class Recorder(Callback):
    """Records losses and images over time: to TensorBoard, ``losses.csv`` and ``snapshots/``.

    Step k is the image after k steps of the whole run; its losses are those of the lowest
    evaluation within that step.
    """

    level: Level

    def __init__(
        self, settings: config.Logging, folder: Path | None, steps: int, done: int
    ) -> None:
        """Drop what an interrupted run of so many steps recorded after its first ``done`` steps."""
        self.settings, self.steps = settings, steps
        self.writer = self.snapshots = self.losses = None
        self.rows: list[Row] = []  # as in losses.csv
        if folder is None:
            return
        if settings.tensorboard:
            self.writer = SummaryWriter(folder, purge_step=done + 1 if done else 0)
        if settings.snapshots and settings.image_every:
            self.snapshots = folder / "snapshots"
            self.snapshots.mkdir(exist_ok=True)
        if self.writer or self.snapshots:
            self.losses = folder / NAME
            self.rows = start_losses(self.losses, done)
        else:
            (folder / NAME).unlink(missing_ok=True)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """Record what is due at this step."""
        assert isinstance(pl_module, StyleTransfer)
        step = self.level.first_step + trainer.global_step
        if step % self.settings.every == 0 and pl_module.losses:
            losses = pl_module.losses.as_floats()
            named = (losses[name] for name in LOSSES)
            self.rows.append((step, pl_module.evaluations, *named))
            if self.losses is not None:
                append_losses(self.losses, step, pl_module.evaluations, losses)
            curves = {f"loss/{name}": value for name, value in losses.items()}
            curves["progress/evaluations"] = pl_module.evaluations
            curves["progress/size"] = self.level.size
            self.record_scalars(curves, step)
        due = self.settings.image_every and step % self.settings.image_every == 0
        if due and step < self.steps:  # the last image is the saved one, recorded at the end
            self.record_image(pl_module.result_image(), step)

    def on_save_checkpoint(self, *args: Any) -> None:
        """Flush TensorBoard: a run resumed from here does not record the steps before again."""
        if self.writer is not None:
            self.writer.flush()

    def record_image(self, image: torch.Tensor, step: int) -> None:
        """Record an image (1, 3, H, W) under ``step``, reduced if it is large."""
        image = reduce(image, LARGEST_IMAGE)
        if not torch.isfinite(image).all():
            return  # the divergence guard restores the best image before the next step
        pixels = to_array(image)
        if self.writer is not None:
            self.writer.add_image("image", pixels, step, dataformats="HWC")
        if self.snapshots is not None:
            save_image(pixels, self.snapshots / f"step_{step:06d}.png")

    def record_scalars(self, values: dict[str, float], step: int) -> None:
        """Record numbers by their tags under ``step``."""
        if self.writer is not None:
            for tag, value in values.items():
                self.writer.add_scalar(tag, value, step)

    def record_result(
        self, image: torch.Tensor, losses: dict[str, float], metrics: dict[str, float]
    ) -> None:
        """Record the image that is saved, and close TensorBoard's file."""
        self.record_image(image, self.steps)
        values = {f"saved/{name}": losses[name] for name in SAVED_LOSSES}
        values |= {f"metrics/{name}": value for name, value in metrics.items()}
        self.record_scalars(values, self.steps)
        if self.writer is not None:
            self.writer.close()
