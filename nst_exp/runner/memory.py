"""How much memory a run needs, what to say if the machine has less, and how it is reused."""

import copy
import ctypes
import errno
import logging
import re
import sys
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from nst_exp.config.pyramid import total_steps
from nst_exp.config.schema import LBFGS, Config
from nst_exp.core.encoder import Encoder

log = logging.getLogger(__name__)

IMAGE_BYTES = 12  # per pixel: three float32
# Peak of an evaluation over the bytes of all maps, in-place layers counted too: gradients, Gram
# matrices and the convolutions' workspaces included. Measured with benchmarks/memory.py.
PEAK_FACTOR = 2.3
# Images that the optimizer and the module hold, and per step of L-BFGS's history: two, and what
# the heap loses between them.
IMAGES, IMAGES_PER_STEP = 20, 3
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _MADV_HUGEPAGE = -1, -4, 14  # of malloc.h and sys/mman.h
_HUGE_PAGE, _RESERVED = 2 * 2**20, 2 * 2**30  # only what is used becomes real memory
# torch has an exception type for CUDA alone; on the CPU it raises a plain RuntimeError.
_CPU_MESSAGES = re.compile(r"not enough memory|can't allocate memory|bad alloc", re.IGNORECASE)


def estimate(encoder: Encoder, config: Config, width: int, height: int) -> int:
    """Estimate a run's peak memory in bytes, beside its weights, to a third from 512 pixels on."""
    maps = _bytes_of_maps(encoder, width, height)
    if config.trainer.precision == "64-true":
        maps *= 2
    images = IMAGES
    if isinstance(config.optimizer, LBFGS):
        images += IMAGES_PER_STEP * min(config.optimizer.history, total_steps(config))
    return round(PEAK_FACTOR * maps) + images * IMAGE_BYTES * width * height


def _bytes_of_maps(encoder: Encoder, width: int, height: int) -> int:
    """Add up the outputs of all layers, by a pass on torch's device without memory."""
    sizes: list[int] = []

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        sizes.append(output.nbytes)

    shadow = copy.deepcopy(encoder).to("meta").train(False)  # which copies of fx modules forget
    for module in shadow.modules():
        if not list(module.children()):
            module.register_forward_hook(add)
    with torch.no_grad():
        shadow(torch.empty(1, 3, height, width, device="meta"))
    return sum(sizes)


def available(device: torch.device) -> int | None:
    """Return the bytes that are free on a device, as CUDA or Linux says; None if neither does."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        return int(found) * 1024
    except (OSError, ValueError, StopIteration):
        return None


def warn_if_scarce(
    encoder: Encoder, config: Config, size: tuple[int, int], device: torch.device
) -> None:
    """Log a warning if a run will probably not fit; ``size`` is width and height."""
    free, needed = available(device), 0
    with suppress(RuntimeError):  # an image too small for the network raises ConfigError later
        needed = estimate(encoder, config, *size)
    if free is not None and needed > free:
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
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and _CPU_MESSAGES.search(str(error)) is not None


def keep_freed_memory() -> None:
    """Let glibc's malloc reuse freed blocks, the first ones in pages of 2 MB; no number changes."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError, TypeError):  # no glibc, or no such block
            libc = ctypes.CDLL(None)
            libc.mallopt(_M_MMAP_MAX, 0)
            libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
            libc.malloc.restype = ctypes.c_void_p
            block = libc.malloc(ctypes.c_size_t(_RESERVED))
            start = -(-block // _HUGE_PAGE) * _HUGE_PAGE
            size = ctypes.c_size_t(_RESERVED - (start - block))  # the advice may be refused
            libc.madvise(ctypes.c_void_p(start), size, _MADV_HUGEPAGE)
            libc.free(ctypes.c_void_p(block))
