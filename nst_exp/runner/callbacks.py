"""What is recorded beside the optimization: curves and snapshots."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger

from nst_exp.config import schema as config
from nst_exp.config.pyramid import Level
from nst_exp.images import LoadedImage
from nst_exp.images.save import quantize, save_image
from nst_exp.images.tensors import reduce, to_array
from nst_exp.results.losses_csv import LOSSES, NAME, Row, append_losses, start_losses
from nst_exp.runner.loggers import SAVED_LOSSES, TRACKERS, close, flush, log_image, log_start
from nst_exp.runner.module import StyleTransfer
from nst_exp.utils.atomic_files import write_bytes_atomically
from nst_exp.utils.errors import Interrupted
from nst_exp.utils.paths import LATEST

log = logging.getLogger(__name__)

LARGEST_IMAGE = 1024  # longer side in TensorBoard and snapshots; larger ones take time and space


class Recorder(Callback):
    """Records losses and images over time: to loggers, ``losses.csv`` and ``snapshots/``.

    Step k is the image after k steps of the whole run; its losses are those of the lowest
    evaluation within that step.
    """

    level: Level

    def __init__(
        self,
        settings: config.Logging,
        folder: Path | None,
        loggers: dict[str, Logger],
        steps: int,
        done: int,
    ) -> None:
        """Drop what an interrupted run of so many steps recorded after its first ``done`` steps."""
        self.settings, self.folder, self.steps = settings, folder, steps
        self.loggers = loggers  # those that work
        self.snapshots = self.latest = self.losses = None
        self.rows: list[Row] = []  # as in losses.csv
        if folder is None:
            return
        if settings.image_every:
            self.latest = folder / LATEST
        if settings.snapshots and settings.image_every:
            self.snapshots = folder / "snapshots"
            self.snapshots.mkdir(exist_ok=True)
        if settings.loggers or self.snapshots:
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
        """Write what waits: a run resumed from here does not record the steps before again."""
        self._each(flush)

    def record_start(self, settings: config.Config, images: Sequence[LoadedImage]) -> None:
        """Record the settings, and the content image and style images, unless a run resumes."""
        self._each(lambda logger: log_start(logger, settings, self.folder, images))

    def record_image(self, image: torch.Tensor, step: int) -> None:
        """Record an image (1, 3, H, W) under ``step``, reduced if it is large."""
        image = reduce(image, LARGEST_IMAGE)
        if not torch.isfinite(image).all():
            return  # the divergence guard restores the best image before the next step
        pixels = to_array(image)
        self._each(lambda logger: log_image(logger, "image", quantize(pixels), step))
        latest = self.latest if step < self.steps else None  # then the result is there
        if self.snapshots is not None:
            snapshot = self.snapshots / f"step_{step:06d}.png"
            save_image(pixels, snapshot)
            if latest is not None:
                write_bytes_atomically(latest, snapshot.read_bytes())
        elif latest is not None:
            save_image(pixels, latest)

    def record_scalars(self, values: dict[str, float], step: int) -> None:
        """Record numbers by their tags under ``step``."""
        self._each(lambda logger: logger.log_metrics(values, step))

    def record_result(
        self, image: torch.Tensor, losses: dict[str, float], metrics: dict[str, float]
    ) -> None:
        """Record the image that is saved, close the loggers and remove the image so far."""
        self.record_image(image, self.steps)
        values = {f"saved/{name}": losses[name] for name in SAVED_LOSSES}
        values |= {f"metrics/{name}": value for name, value in metrics.items()}
        self.record_scalars(values, self.steps)
        self._close("finished")
        if self.latest is not None:
            self.latest.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        """Record a run; the loggers are closed if it ends early."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *args: Any) -> None:
        """Close the loggers; what ended the run matters more than an error of theirs."""
        if kind is not None:
            stopped = issubclass(kind, Interrupted | KeyboardInterrupt)
            with suppress(Exception):
                self._close("KILLED" if stopped else "failed")

    def _close(self, status: str) -> None:
        self._each(lambda logger: close(logger, status))
        self.loggers.clear()

    def _each(self, action: Callable[[Logger], None]) -> None:
        """Do something with each logger; a tracker that fails is left out from then on."""
        for name, logger in list(self.loggers.items()):
            try:
                action(logger)
            except Exception as error:
                if name not in TRACKERS:
                    raise
                del self.loggers[name]
                reason = str(error).partition("\n")[0]
                log.warning(
                    f"logging.loggers: {name} failed ({reason}); the run continues without it"
                )
