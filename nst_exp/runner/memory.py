"""How much memory a run needs, and what to say if the machine has less."""

from __future__ import annotations

import errno
import logging
import re
from pathlib import Path

import torch
from torch import Tensor

from nst_exp.config.schema import LBFGS, Config
from nst_exp.core.encoder import Encoder

log = logging.getLogger(__name__)

IMAGE_BYTES = 12  # per pixel: three float32
# Per byte that an evaluation keeps for its gradient, measured with benchmarks/memory.py: gradients,
# workspaces of convolutions and Gram matrices come on top.
PEAK_FACTOR = 2.5
# Images that the optimizer and the module hold, beside two per step of L-BFGS's history.
IMAGES = 20
# torch has an exception type for CUDA alone; on the CPU it raises a plain RuntimeError.
_CPU_MESSAGES = re.compile(r"not enough memory|can't allocate memory|bad alloc", re.IGNORECASE)


def estimate(encoder: Encoder, config: Config, width: int, height: int) -> int:
    """Estimate the peak of a run's memory in bytes, beside its network.

    Good to about a third from 256 pixels on; nothing is computed.

    Args:
        encoder: The run's network.
        config: The run's config.
        width: Width of the image at the last level.
        height: Height of the image at the last level.
    """
    kept = _bytes_kept(encoder, width, height)
    if config.trainer.precision == "64-true":
        kept *= 2
    images = IMAGES
    if isinstance(config.optimizer, LBFGS):
        images += 2 * min(config.optimizer.history, config.steps)
    return round(PEAK_FACTOR * kept) + images * IMAGE_BYTES * width * height


def _bytes_kept(encoder: Encoder, width: int, height: int) -> int:
    """Bytes that one evaluation keeps for its gradient, and of the maps that the loss reads."""
    tensors = [*encoder.named_parameters(), *encoder.named_buffers()]
    weights = {name: values.to("meta") for name, values in tensors}
    image = torch.empty(1, 3, height, width, device="meta", requires_grad=True)
    kept: dict[int, torch.UntypedStorage] = {}  # several tensors may share a storage

    def keep(values: Tensor) -> Tensor:
        storage = values.untyped_storage()
        kept[id(storage)] = storage
        return values

    for values in weights.values():
        keep(values)
    own = sum(storage.nbytes() for storage in kept.values())

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda values: values):
        maps: dict[str, Tensor] = torch.func.functional_call(encoder, weights, (image,))
    for values in maps.values():
        keep(values)
    return sum(storage.nbytes() for storage in kept.values()) - own


def available(device: torch.device) -> int | None:
    """Return the bytes that are free on a device, as CUDA or Linux says; None if neither does."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        return int(free) * 1024
    except (OSError, ValueError, StopIteration):
        return None


def warn_if_scarce(
    encoder: Encoder, config: Config, size: tuple[int, int], device: torch.device
) -> None:
    """Log a warning if a run will probably not fit; ``size`` is width and height."""
    free = available(device)
    if free is None or device.type == "mps":
        return
    try:
        needed = estimate(encoder, config, *size)
    except RuntimeError:  # an image too small for the network; its feature maps raise ConfigError
        return
    if needed > free:
        log.warning(
            "size=%d: %dx%d pixels need about %.1f GB of memory, and %.1f GB are free; %s",
            *(config.size, *size, needed / 1e9, free / 1e9, remedies(config)),
        )


def remedies(config: Config) -> str:
    """Name the keys that lower what a run needs, with their present values."""
    words = f"lower size (now {config.size})"
    if isinstance(config.optimizer, LBFGS):
        words += f" or optimizer.history (now {config.optimizer.history}), or use optimizer=adam"
    if config.trainer.precision == "64-true":
        words += ", or trainer.precision=32-true"
    return words


def is_out_of_memory(error: BaseException) -> bool:
    """Check whether Python, torch or the operating system had no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and _CPU_MESSAGES.search(str(error)) is not None
