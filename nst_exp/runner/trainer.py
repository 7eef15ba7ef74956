"""Lightning's Trainer, set up as the config asks for it."""

import logging
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.callbacks import Callback

from nst_exp.config.schema import TrainerConfig
from nst_exp.runner.loggers import SILENT
from nst_exp.runner.resume import AtomicCheckpointIO
from nst_exp.utils.errors import ConfigError

# What Lightning sets or deletes in the environment, and what loggers set.
_VARIABLES = ("CUBLAS_WORKSPACE_CONFIG", "CUDA_DEVICE_ORDER", "WORLD_SIZE", *SILENT)


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


def slow_precision(settings: TrainerConfig) -> list[str]:
    """Return a warning if the run's processor has no arithmetic for the precision."""
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    known = capabilities and describe_device(settings).startswith("cpu")  # not by older torch
    names = ("avx512_bf16", "amx_bf16", "bf16")  # the last one on ARM
    if settings.precision != "bf16-mixed" or not known or any(map(capabilities.get, names)):
        return []
    return [
        "trainer.precision=bf16-mixed: this processor has no arithmetic for bfloat16; steps may "
        "take many times as long as with 32-true"
    ]


def make_trainer(settings: TrainerConfig, steps: int, callbacks: list[Callback]) -> pl.Trainer:
    """Make a trainer for ``steps`` steps that leaves screen and files to the callbacks."""
    return pl.Trainer(
        accelerator=settings.accelerator,
        devices=[settings.device] if _on_cuda(settings) else 1,
        precision=cast(Any, settings.precision),
        deterministic=settings.deterministic,
        max_steps=steps,
        callbacks=callbacks,
        # One process on one device, under SLURM too: Lightning would answer SIGUSR1 with a
        # checkpoint of its own and resume from it, whatever run it belongs to.
        plugins=[AtomicCheckpointIO(settings.checkpoint_gigabytes), LightningEnvironment()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def memory_device(settings: TrainerConfig) -> torch.device:
    """Return the device whose memory a run uses; Apple's GPUs share the CPU's."""
    return torch.device("cuda", settings.device) if _on_cuda(settings) else torch.device("cpu")


def describe_device(settings: TrainerConfig) -> str:
    """Describe the device of a run, such as "cpu, 8 threads"."""
    device = memory_device(settings)
    if device.type == "cuda":
        return f"{device}, {torch.cuda.get_device_name(device)}"
    if settings.accelerator != "cpu" and torch.backends.mps.is_available():
        return "mps"
    threads = settings.threads or torch.get_num_threads()
    return f"cpu, {threads} thread{'s' if threads > 1 else ''}"


def _on_cuda(settings: TrainerConfig) -> bool:
    return settings.accelerator != "cpu" and torch.cuda.is_available()


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
            if any(action == "error" for action, *_ in warnings.filters):
                warnings.simplefilter("ignore")  # the caller means warnings of its own code
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            yield
    finally:
        logger.setLevel(level)
        threading.excepthook = show


@contextmanager
def default_torch(threads: int | None) -> Iterator[None]:
    """Use torch's defaults whatever the caller has set; what Lightning changes is restored.

    Gradients are computed in float32 on the CPU where nothing else is said, without autocast, also
    inside of ``torch.inference_mode()`` and the like. The number of threads is kept if it is None.
    """
    count, dtype = torch.get_num_threads(), torch.get_default_dtype()
    benchmark = torch.backends.cudnn.benchmark
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    variables = {name: os.environ.get(name) for name in _VARIABLES}
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        torch.set_default_dtype(torch.float32)
        if threads is not None:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            torch.backends.cudnn.benchmark = benchmark
            if threads is not None:
                torch.set_num_threads(count)
            for name, value in variables.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
