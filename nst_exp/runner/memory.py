"""How much memory a run needs, what to say if the machine has less, and how it is reused."""

import ctypes
import errno
import math
import os
import re
import sys
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from nst_exp.config.loss_layers import HYPERCOLUMN, content_layers, resolve_layers, style_terms
from nst_exp.config.pyramid import Level, build_levels, levels_of, optimizer_at
from nst_exp.config.schema import (
    AUTO,
    LBFGS,
    Config,
    ContentLoss,
    ParametrizationKind,
    StyleLoss,
)
from nst_exp.config.validate_terms import whole_image_keys
from nst_exp.core.blocks import Tiling, check_blocks
from nst_exp.core.encoder import LARGEST_SIDE, WRONG_SIZE, Encoder, least_size
from nst_exp.core.layer_maps import read_maps
from nst_exp.core.statistics import build_statistic
from nst_exp.images.size import Size, content_size, style_size
from nst_exp.images.validate import wrong_sizes
from nst_exp.runner.network import shadow_network
from nst_exp.utils.errors import ConfigError

IMAGE_BYTES = 12  # per pixel: three float32
# Peak of an evaluation over the bytes of all maps, in-place layers counted too: gradients, Gram
# matrices and the convolutions' workspaces included. Measured with benchmarks/memory.py.
PEAK_FACTOR = 2.0
STYLE_FACTOR = 0.5  # the same for the style image, of which no gradients are computed
# Images that the optimizer and the module hold, and per step of L-BFGS's history: two, and what
# the heap loses between them.
IMAGES, IMAGES_PER_STEP = 20, 3
BASE = 150_000_000  # what a run needs at any size
MADE = 3.5  # maps held for each one of hypercolumns: its parts and their gradients
MATRICES = 8  # of all pairs of channels: covariances, differences, gradients
BLOCKS = (2048, 1024, 512, 256)  # sides that trainer.tile=auto tries
# Of malloc.h and sys/mman.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _MADV_HUGEPAGE = -1, -3, -4, 14
_LARGE_SIDE = 2560  # images from here on are computed in blocks nearly always
_HUGE_PAGE, _RESERVED = 2 * 2**20, 2 * 2**30  # only what is used becomes real memory
# torch has an exception type for CUDA alone; on the CPU it raises a plain RuntimeError.
_CPU_MESSAGES = re.compile(r"not enough memory|can't allocate memory|bad alloc", re.IGNORECASE)


def check_size(
    config: Config, content_own: Size, styles_own: Sequence[Size], device: torch.device
) -> list[str]:
    """Compare what a run needs with what the network and the device allow; weights are not loaded.

    Args:
        config: Config of the run.
        content_own: Width and height of the content image's file.
        styles_own: Those of the style images' files.
        device: Where the run will compute.

    Returns:
        A warning if the run needs more memory than is free, or more than there is with ``force``.

    Raises:
        ConfigError: If the network lacks a layer, an image is too small for it, or the run needs
            more memory than there is and ``force`` is not set.
    """
    shadow = shadow_network(config)
    _check_first_level(config, content_own, styles_own, shadow)

    def largest_style(of: Config, size: int) -> Size:
        sizes = [
            style_size(of, content_own, own, size, index) for index, own in enumerate(styles_own)
        ]
        return max(sizes, key=math.prod)

    def needed(size: int) -> int:
        same, found = replace(config, size=size), 0
        for level in levels_of(same):
            side = min(level.size, size)  # larger ones would be left out of a list of sizes
            image, style = content_size(same, content_own, side), largest_style(same, side)
            with suppress(*WRONG_SIZE):
                block = choose_block(same, level, shadow, image, style, device)
                found = max(found, estimate(shadow, same, level, image, style, block))
        return found

    bytes_needed, free, total = needed(config.size), available(device), installed(device)
    image = "{}x{}".format(*content_size(config, content_own, config.size))
    style = "{}x{}".format(*largest_style(config, config.size))
    fact = (
        f"size={config.size}: {image} pixels, with a style image of {style}, need about "
        f"{bytes_needed / 1e9:.1f} GB of memory, and "
    )
    if total is not None and bytes_needed > total:
        fact += f"{'the GPU' if device.type == 'cuda' else 'this machine'} has {total / 1e9:.1f} GB"
        if config.force:
            return [f"{fact}; tried nevertheless, as force=true asks for"]
        largest = bisect_left(range(1, config.size), True, key=lambda size: needed(size) > total)
        helps = largest > 0 and needed(largest) > 0  # and the network takes it
        advice = f"use size={largest} or less" if helps else "lower resolution.style_size"
        raise ConfigError(f"{fact}; {advice}, or force=true to try it")
    if free is not None and bytes_needed > free:
        return [f"{fact}{free / 1e9:.1f} GB are free; {remedies(config)}"]
    return []


def _check_first_level(
    config: Config, content: Size, styles: Sequence[Size], shadow: Encoder
) -> None:
    """Raise ConfigError if the network cannot compute the maps of the smallest images."""
    first = build_levels(config.resolution, config.size, config.steps)[0].size
    sizes = [content_size(config, content, first)]
    sizes += [style_size(config, content, own, first, index) for index, own in enumerate(styles)]
    for width, height in sizes:
        try:
            _bytes_of_maps(shadow, width, height)
        except WRONG_SIZE:
            problems: list[str] = []
            if (least := least_size(shadow)) <= LARGEST_SIDE:
                problems += wrong_sizes(config, content, styles, least, "the network needs")
            problems = problems or [
                f"backbone.name={config.backbone.name}: takes no images of {width}x{height} "
                "pixels; use another network"
            ]
            raise ConfigError(problems) from None


def choose_block(
    config: Config, level: Level, shadow: Encoder, image: Size, style: Size, device: torch.device
) -> int | None:
    """Choose the side of the blocks in which an image is computed; None if it is not divided.

    Args:
        config: Config of the run.
        level: The level, whose size is not read.
        shadow: The network, on torch's device "meta".
        image: Width and height of the image.
        style: Those of the largest style image.
        device: Where it is computed.

    Raises:
        ConfigError: If the config asks for blocks that the network or the image does not allow.
    """
    own, of_run, limit = level.settings.tile, config.trainer.tile, config.trainer.tile_memory
    if own is None and of_run is None:
        return None
    if own is not None or of_run != AUTO:
        key = "trainer.tile" if own is None else "resolution.levels: tile"
        tile = int(of_run or 0) if own is None else own
        try:
            check_blocks(shadow, tile, image)
        except ValueError as error:
            raise ConfigError(f"{key}={tile}: {error}; use {key}=null") from error
        return tile
    free = _at_hand(device) if limit is None else round(limit * 1e9)
    if free is None or any(whole_image_keys(config)):
        return None
    if estimate(shadow, config, level, image, style) <= free:
        return None
    try:
        check_blocks(shadow, BLOCKS[-1], image)
    except ValueError:
        return None
    fits = (b for b in BLOCKS if estimate(shadow, config, level, image, style, b) <= free)
    return next(fits, BLOCKS[-1])


def estimate(
    encoder: Encoder,
    config: Config,
    level: Level,
    image: Size,
    style: Size,
    block: int | None = None,
) -> int:
    """Estimate a level's peak memory in bytes, beside its weights, to a third from 512 pixels on.

    Args:
        encoder: The network, on torch's device "meta".
        config: Config of the run.
        level: The level, whose size is not read.
        image: Width and height of the image.
        style: Width and height of the style image.
        block: Side of the blocks in which both are computed.
    """
    images, optimizer = IMAGES, optimizer_at(config, level)
    if isinstance(optimizer, LBFGS):
        steps = min(optimizer.history, level.steps)
        laplacian = optimizer.parametrization.kind is ParametrizationKind.laplacian
        images += IMAGES_PER_STEP * steps * 4 // 3 if laplacian else IMAGES_PER_STEP * steps
    kept = 0
    if block is not None:
        kept = _bytes_of_targets(encoder, config, image)
        tiling = Tiling(encoder, block)
        sides = (
            tiling.block + 2 * tiling.gradient_margin,
            2 * (tiling.block + tiling.value_margin),
        )
        image_part, style = (
            (min(size[0], side), min(size[1], side))
            for size, side in zip((image, style), sides, strict=True)
        )
    else:
        image_part = image
    maps, style_maps = (_bytes_of_maps(encoder, *size) for size in (image_part, style))
    terms = _bytes_of_terms(encoder, config, *image_part)
    if config.trainer.precision == "64-true":
        # Each convolution unfolds its input.
        maps, style_maps, terms = 2 * maps, 5 * style_maps, 2 * terms
    step = PEAK_FACTOR * maps + terms + images * IMAGE_BYTES * image[0] * image[1]
    return BASE + round(max(step + kept, STYLE_FACTOR * style_maps))


def _bytes_of_targets(encoder: Encoder, config: Config, image: Size) -> int:
    """Add up the maps of the content image that are kept."""
    layers = content_layers(resolve_layers(config.loss, config.backbone))
    with torch.no_grad():
        maps = encoder(torch.empty(1, 3, image[1], image[0], device="meta"))
    return sum(maps[layer].nbytes for layer in layers)


def _bytes_of_terms(encoder: Encoder, config: Config, width: int, height: int) -> float:
    """Add up what the terms of the loss hold beside the maps of the network."""
    loss, total = resolve_layers(config.loss, config.backbone), 0.0
    maps = encoder(torch.empty(1, 3, height, width, device="meta"))
    terms: list[ContentLoss | StyleLoss] = [loss.content, *style_terms(loss)]
    for term in terms:
        held, matrices = 0.0, 0
        if isinstance(term, StyleLoss):
            statistic = build_statistic(term)
            held = len(config.style) * statistic.copies
            matrices = MATRICES if statistic.additive else 0
        for name, values in read_maps(maps, term).items():
            made = MADE if name == HYPERCOLUMN else float(name not in maps)
            total += (held + made) * values.nbytes
            total += matrices * values.element_size() * values.shape[1] ** 2
    return total


def _bytes_of_maps(encoder: Encoder, width: int, height: int) -> int:
    """Add up the outputs of all layers."""
    sizes: list[int] = []

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        sizes.append(output.nbytes)

    layers = [module for module in encoder.modules() if not list(module.children())]
    handles = [layer.register_forward_hook(add) for layer in layers]
    try:
        with torch.no_grad():
            encoder(torch.empty(1, 3, height, width, device="meta"))
    finally:
        for handle in handles:
            handle.remove()
    return sum(sizes)


def installed(device: torch.device) -> int | None:
    """Return the bytes that a device has, or that a container or a cluster's job may use of them.

    None if the system does not say.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    found: list[int] = []
    with suppress(OSError, ValueError, AttributeError):  # Windows has no sysconf
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        own = next(line for line in lines if line.startswith("0::"))  # version 2
        group = Path("/sys/fs/cgroup" + own.removeprefix("0::"))
        for folder in (group, *group.parents):
            with suppress(OSError, ValueError):  # no such file, or "max"
                found.append(int((folder / "memory.max").read_text(encoding="ascii")))
    return min(found, default=None)


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


def _at_hand(device: torch.device) -> int | None:
    known = [value for value in (available(device), installed(device)) if value is not None]
    return min(known, default=None)


def remedies(config: Config) -> str:
    """Name the keys that lower what a run needs, with their present values."""
    words = f"lower size (now {config.size})"
    last = levels_of(config)[-1]
    if isinstance(optimizer := optimizer_at(config, last), LBFGS):
        key = "optimizer.history" if last.settings.history is None else "resolution.levels' history"
        words += f" or {key} (now {optimizer.history}), or use optimizer=adam"
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


def release_freed_memory() -> None:
    """Return the memory of freed blocks to the system, which keep_freed_memory keeps."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # not glibc
            ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))


def keep_freed_memory(size: int) -> None:
    """Let glibc's malloc reuse freed blocks, the first ones in pages of 2 MB; no number changes.

    Blocks as large as an image whose longest side is ``size`` are returned to the system if such an
    image is computed in blocks. malloc's own variables, if the user has set some, hold instead.
    """
    if sys.platform == "linux" and not any(name.startswith("MALLOC_") for name in os.environ):
        with suppress(OSError, AttributeError, TypeError):  # no glibc, or no such block
            libc = ctypes.CDLL(None)
            if size < _LARGE_SIDE:
                libc.mallopt(_M_MMAP_MAX, 0)
            else:
                libc.mallopt(_M_MMAP_THRESHOLD, min(IMAGE_BYTES * size * size // 2, 2**31 - 1))
            libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
            libc.malloc.restype = ctypes.c_void_p
            block = libc.malloc(ctypes.c_size_t(_RESERVED))
            start = -(-block // _HUGE_PAGE) * _HUGE_PAGE
            length = ctypes.c_size_t(_RESERVED - (start - block))  # the advice may be refused
            libc.madvise(ctypes.c_void_p(start), length, _MADV_HUGEPAGE)
            libc.free(ctypes.c_void_p(block))
