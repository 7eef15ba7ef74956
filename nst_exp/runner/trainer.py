"""Lightning's Trainer, set up as the config asks for it."""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.callbacks import Callback

from nst_exp.config.schema import TrainerConfig
from nst_exp.runner.resume import AtomicCheckpointIO
from nst_exp.utils.errors import ConfigError


def check_device(settings: TrainerConfig) -> None:
    """Raise ConfigError if this machine lacks the device that the config asks for."""
    wanted = settings.accelerator
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    found = ", ".join(["cpu", *(name for name in has if has[name])])
    has["gpu"] = any(has.values())
    if not has.get(wanted, True):
        raise ConfigError(f"trainer.accelerator={wanted}: not on this machine; available: {found}")
    if settings.precision == "16-mixed" and (wanted == "cpu" or not has["gpu"]):
        raise ConfigError(
            f"trainer.precision=16-mixed: needs a GPU; available: {found}; use bf16-mixed"
        )
    last = max(torch.cuda.device_count() - 1, 0)
    if settings.device > last:
        raise ConfigError(
            f"trainer.device={settings.device}: no such device; the last one here is {last}"
        )


def make_trainer(settings: TrainerConfig, steps: int, callbacks: list[Callback]) -> pl.Trainer:
    """Make a trainer for ``steps`` steps that leaves screen and files to the callbacks."""
    on_gpu = settings.accelerator != "cpu" and torch.cuda.is_available()
    return pl.Trainer(
        accelerator=settings.accelerator,
        devices=[settings.device] if on_gpu else 1,
        precision=cast(Any, settings.precision),
        deterministic=settings.deterministic,
        max_steps=steps,
        callbacks=callbacks,
        # One process on one device, under SLURM too: Lightning would answer SIGUSR1 with a
        # checkpoint of its own and resume from it, whatever run it belongs to.
        plugins=[AtomicCheckpointIO(), LightningEnvironment()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep Lightning's notes about devices, tips and workers off the screen.

    Also the traceback of TensorBoard's thread if the disk is full: the same error is raised again
    when the next point is recorded.
    """
    logger = logging.getLogger("pytorch_lightning")
    level, show = logger.level, threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if not isinstance(arguments.exc_value, OSError):
            show(arguments)

    logger.setLevel(logging.ERROR)
    threading.excepthook = hook
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            yield
    finally:
        logger.setLevel(level)
        threading.excepthook = show
