"""Measures of a result that do not depend on how it was made; docs/metrics.md explains each.

All are taken of the picture as it is saved, rounded to 8 bits, at its final size. Images are
(1, 3, H, W), float32, RGB (sRGB) in 0..1.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure
from torchvision.transforms.functional import rgb_to_grayscale

from nst_exp.config import schema
from nst_exp.core.colors import color_distance
from nst_exp.core.objective import Objective
from nst_exp.core.objective import total_variation as objective_total_variation
from nst_exp.core.targets import feature_maps
from nst_exp.runner.network import REFERENCE, Network, reference_network
from nst_exp.utils.errors import NstError

Say = Callable[[str], None]

NAMES = (
    "content_distance",
    "style_distance",
    "ssim",
    "color_distance",
    "total_variation",
    "sharpness",
    "peak_memory_mb",
    "peak_gpu_memory_mb",  # of runs on CUDA
)
WINDOW = 5  # radius of SSIM's window, 11 x 11
_SIGMA = 1.5  # of its Gaussian weights


def names() -> list[str]:
    """The metrics that a run on this machine may have."""
    return [n for n in NAMES if n != "peak_gpu_memory_mb" or torch.cuda.is_available()]


def measure(
    image: Tensor, content: Tensor, style: Tensor, device: torch.device, warn: Say, say: Say
) -> dict[str, float]:
    """Every metric of ``image`` that can be had, finite numbers by name.

    ``content`` has the image's size; ``style`` may have another. The reference network runs on
    ``device``, that of the run. ``warn`` is told why a metric is left out, ``say`` of a download.
    Nothing is raised for a metric that fails.
    """
    found: dict[str, float] = {}

    def attempt(name: str, compute: Callable[[], float]) -> None:
        try:
            value = compute()
        except Exception as error:  # the picture is there: nothing may lose it now
            _leave_out([name], _reason(error), warn)
            return
        if math.isfinite(value):
            found[name] = value
        else:
            _leave_out([name], f"it is {value}", warn)

    # First, so that it is the run's and not that of the reference network.
    attempt("peak_memory_mb", peak_memory_mb)
    if device.type == "cuda":
        attempt("peak_gpu_memory_mb", lambda: torch.cuda.max_memory_allocated(device) / 1e6)
    try:
        network = reference_network(lambda line: _pass_on(line, warn, say))
        network.backbone.to(device, torch.float32)
        maps = feature_maps(network.backbone, image.to(device), "image")
    except Exception as error:
        _leave_out(["content_distance", "style_distance"], _reason(error), warn)
    else:
        where = content.to(device), style.to(device)
        attempt("content_distance", lambda: content_distance(network, maps, where[0]))
        attempt("style_distance", lambda: style_distance(network, maps, where[1]))
        del maps
    height, width = image.shape[2:]
    radius = ssim_radius(height, width)
    if 0 < radius < WINDOW:
        side = 2 * radius + 1
        warn(f"metrics: ssim has a window of {side}x{side}, not 11x11: {width}x{height} pixels")
    attempt("ssim", lambda: ssim(image, content))
    attempt("color_distance", lambda: color_distance(image, style))
    attempt("total_variation", lambda: total_variation(image))
    attempt("sharpness", lambda: sharpness(image))
    return {name: found[name] for name in NAMES if name in found}


def _pass_on(line: str, warn: Say, say: Say) -> None:
    """What goes wrong with the weights also belongs into the record."""
    if line.startswith("warning: "):
        warn(line.removeprefix("warning: "))
    else:
        say(line)


def _leave_out(missing: Iterable[str], reason: str, warn: Say) -> None:
    warn(
        f"metrics: {' and '.join(missing)} left out: {reason}; "
        "logging.metrics=false switches the metrics off"
    )


def _reason(error: Exception) -> str:
    """One line; the advice that follows some messages is for a run that cannot start."""
    text, _, advice = str(error).partition("\nWhat to do:")
    if advice:
        text += f"; python -m nst_exp.weights fetch {REFERENCE} fetches them"
    line = " ".join(text.split())
    return line if isinstance(error, NstError) else f"{type(error).__name__}: {line[:200]}"


# Against the reference network


def content_distance(network: Network, maps: dict[str, Tensor], content: Tensor) -> float:
    """sum (F - P)^2 / sum P^2, F in ``maps``, the mean over the network's content layers.

    Raises ConfigError if ``content`` is too small for the network.
    """
    layers = network.loss.content.layers
    loss = schema.Loss(content=schema.ContentLoss(layers=layers, relative=True))
    return _mean_term(loss, maps, network.maps(content, layers, "content"), {})


def style_distance(network: Network, maps: dict[str, Tensor], style: Tensor) -> float:
    """sum (G - A)^2 / sum A^2, G of ``maps``, the mean over the network's style layers.

    Gram matrices are per position, so ``style`` may have another size. Raises ConfigError if it is
    too small for the network.
    """
    layers = network.loss.style.layers
    loss = schema.Loss(style=schema.StyleLoss(layers=layers, relative=True))
    return _mean_term(loss, maps, {}, network.maps(style, layers, "style"))


def _mean_term(
    loss: schema.Loss,
    maps: dict[str, Tensor],
    content: dict[str, Tensor],
    style: dict[str, Tensor],
) -> float:
    objective = Objective(loss, 1.0, 1.0, content, style)
    blank = next(iter(maps.values())).new_zeros(1, 3, 1, 1)  # only for the terms of the pixels
    with torch.no_grad():
        terms = objective(blank, maps).layers.values()
        return float(sum(terms) / len(terms))


# Of the pixels alone


def ssim_radius(height: int, width: int) -> int:
    """Radius of the largest window that fits, at most WINDOW; 0 if none of 3 x 3 does."""
    return min(WINDOW, (min(height, width) - 1) // 2)


def ssim(image: Tensor, content: Tensor) -> float:
    """Mean structural similarity of the luma, over all positions where the window fits.

    Wang, Bovik, Sheikh and Simoncelli 2004: a Gaussian window of 11 x 11 with a deviation of 1.5
    (in proportion less for an image under 11 pixels), K1 = 0.01, K2 = 0.03. Raises ValueError for
    images of different sizes, or under 3 pixels.
    """
    if image.shape != content.shape:
        raise ValueError(f"sizes differ: {tuple(image.shape)}, {tuple(content.shape)}")
    radius = ssim_radius(image.shape[2], image.shape[3])
    if radius == 0:
        raise ValueError(f"{image.shape[3]}x{image.shape[2]} pixels, and the least window is 3x3")
    _, values = cast(
        tuple[Tensor, Tensor],
        structural_similarity_index_measure(
            _luma(image),
            _luma(content),
            sigma=_SIGMA * radius / WINDOW,
            data_range=1.0,
            return_full_image=True,
        ),
    )
    # Nearer to the border torchmetrics reflects the image; other versions of it average otherwise.
    return float(values[..., radius:-radius, radius:-radius].mean())


def total_variation(image: Tensor) -> float:
    """sum |dx| + |dy| over the number of values, in 0..2."""
    settings = schema.TVLoss(kind=schema.TVKind.l1, reduction=schema.Reduction.mean)
    return float(objective_total_variation(image, settings))


def sharpness(image: Tensor) -> float:
    """Variance of the luma's Laplacian (four neighbors), over all pixels that have them.

    Pech-Pacheco et al. 2000, with luma in 0..1: 0..16. Raises ValueError under 3 pixels.
    """
    luma = _luma(image)[0, 0].double()
    if min(luma.shape) < 3:
        raise ValueError(f"{luma.shape[1]}x{luma.shape[0]} pixels, and the Laplacian needs 3x3")
    laplacian = (
        luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    )
    return float(laplacian.var(correction=0))


def _luma(image: Tensor) -> Tensor:
    """(1, 3, H, W) -> (1, 1, H, W): 0.299 R + 0.587 G + 0.114 B (BT.601)."""
    return cast(Tensor, rgb_to_grayscale(image))


# Of the process


def peak_memory_mb() -> float:
    """The most memory that this process has had in RAM so far, in 10^6 bytes.

    Raises OSError on Windows, where Python's library does not tell.
    """
    if sys.platform == "win32":
        raise OSError("this system does not tell a process's peak memory (no getrusage)")
    status = Path("/proc/self/status")
    if status.is_file():  # Linux, whose getrusage starts from the size of the calling process
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
