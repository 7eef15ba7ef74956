"""Lightning's Trainer, set up as the config asks for it."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger

from nst_exp.config.schema import TrainerConfig
from nst_exp.runner.module import StyleTransfer
from nst_exp.runner.resume import AtomicCheckpointIO
from nst_exp.utils.errors import ConfigError


def check_device(settings: TrainerConfig) -> None:
    """Raise ConfigError if this machine lacks the device that the config asks for."""
    wanted = settings.accelerator
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    has["gpu"] = has["cuda"] or has["mps"]
    found = ", ".join(["cpu", *(name for name in ("cuda", "mps") if has[name])])
    if wanted in has and not has[wanted]:
        raise ConfigError(f"trainer.accelerator={wanted}: not on this machine; available: {found}")
    if settings.precision == "16-mixed" and not has["gpu"]:
        raise ConfigError(
            f"trainer.precision=16-mixed: needs a GPU; available: {found}; use bf16-mixed"
        )
    if settings.device > 0 and not has["cuda"]:
        raise ConfigError(
            f"trainer.device={settings.device}: this machine has no GPU; leave the key out"
        )
    if has["cuda"] and wanted != "cpu" and settings.device >= torch.cuda.device_count():
        raise ConfigError(
            f"trainer.device={settings.device}: no such device; "
            f"use one of 0 to {torch.cuda.device_count() - 1}"
        )


def make_trainer(
    settings: TrainerConfig,
    steps: int,
    callbacks: list[Callback],
    logger: Logger | None,
    folder: Path | None,
) -> pl.Trainer:
    """Make a trainer for ``steps`` steps that leaves screen and files to the callbacks."""
    on_gpu = settings.accelerator != "cpu" and torch.cuda.is_available()
    return pl.Trainer(
        accelerator=settings.accelerator,
        devices=[settings.device] if on_gpu else 1,
        precision=cast(Any, settings.precision),
        deterministic=settings.deterministic,
        max_steps=steps,
        callbacks=callbacks,
        logger=logger or False,
        # One process on one device, under SLURM too: Lightning would answer SIGUSR1 with a
        # checkpoint of its own and resume from it, whatever run it belongs to.
        plugins=[AtomicCheckpointIO(), LightningEnvironment()],
        enable_checkpointing=folder is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder or os.curdir,
    )


def fit(trainer: pl.Trainer, module: StyleTransfer, checkpoint: Path | None) -> None:
    """Run all steps of a trainer, from a checkpoint unless it is None."""
    try:
        trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as error:  # Lightning's answer to Ctrl-C, if the handler is not ours
        raise KeyboardInterrupt from error


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's notes about devices, tips and workers off the screen."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            yield
    finally:
        logger.setLevel(level)
