"""The metrics of a run's result; a metric that fails is left out with a warning."""

import logging
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from nst_exp.config.schema import Backbone
from nst_exp.core import metrics
from nst_exp.core.blocks import Tiling
from nst_exp.core.encoder import feature_maps, map_shapes
from nst_exp.core.objective import Objective
from nst_exp.core.targets import Style
from nst_exp.core.tiled import TiledObjective, position_sums, whole_maps
from nst_exp.runner.network import reference_network
from nst_exp.utils.errors import NstError

log = logging.getLogger(__name__)

NAMES = (
    *("content_distance", "style_distance", "ssim", "color_distance", "total_variation"),
    *("sharpness", "identity_psnr", "peak_memory_mb", "peak_gpu_memory_mb"),
)


def metric_names() -> list[str]:
    """List the metrics that every run on this machine has."""
    others = ["identity_psnr"] + ["peak_gpu_memory_mb"] * (not torch.cuda.is_available())
    return [name for name in NAMES if name not in others]


def evaluate(
    image: Tensor,
    content: Tensor,
    styles: Sequence[tuple[float, Tensor]],
    device: torch.device,
    reference: Backbone,
    block: int | None = None,
    identity: bool = False,
) -> dict[str, float]:
    """Measure every metric of a result: finite numbers by name.

    ``image`` is the result as it is saved, (1, 3, H, W), rounded to 8 bits. ``styles`` are style
    images with their shares, by which their distances are averaged. Feature maps are computed in
    blocks of side ``block``, if it is given. With ``identity`` content and style are one image,
    which the result should be as well. A metric that fails is left out, and a warning says why.
    """
    found: dict[str, float] = {}

    def attempt(name: str, compute: Callable[[], float]) -> None:
        try:
            value = compute()
            if not math.isfinite(value):
                raise ArithmeticError(f"it is {value}")
            found[name] = value
        except Exception as error:  # the image is saved: nothing may lose it now
            _warn_left_out(name, error)

    # First, so that it is the run's and not that of the reference network.
    attempt("peak_memory_mb", peak_memory_mb)
    if device.type == "cuda":
        attempt("peak_gpu_memory_mb", lambda: torch.cuda.max_memory_allocated(device) / 1e6)
    try:
        distances = _distances(image, content, styles, device, reference, block)
    except Exception as error:
        _warn_left_out("content_distance and style_distance", error)
    else:
        for name, distance in distances.items():
            attempt(name, distance)
    if identity:
        attempt("identity_psnr", lambda: metrics.psnr(image, content))
    attempt("ssim", lambda: metrics.ssim(image, content))
    attempt(
        "color_distance",
        lambda: sum(s * metrics.color_distance(image, style) for s, style in styles),
    )
    attempt("total_variation", lambda: metrics.total_variation(image))
    attempt("sharpness", lambda: metrics.sharpness(image))
    return {name: found[name] for name in NAMES if name in found}


def _distances(
    image: Tensor,
    content: Tensor,
    styles: Sequence[tuple[float, Tensor]],
    device: torch.device,
    reference: Backbone,
    block: int | None,
) -> dict[str, Callable[[], float]]:
    """Prepare the distances that are measured with the reference network."""
    network = reference_network(reference)
    network.encoder.to(device, torch.float32)
    of_content, of_style = network.loss.content.layers, network.loss.style.layers
    image, content = image.to(device), content.to(device)
    if block is None:
        maps = feature_maps(network.encoder, image, "image")
    else:
        tiling = Tiling(network.encoder, block)

    def content_distance() -> float:
        if block is not None:
            found = whole_maps(tiling, image, of_content)
            targets = whole_maps(tiling, content, of_content)
            return metrics.content_distance(found, targets, of_content)
        targets = network.maps(content, of_content, "content")
        return metrics.content_distance(maps, targets, of_content)

    def style_distance(style: Tensor) -> float:
        if block is not None:
            return _tiled_style_distance(tiling, image, style, of_style)
        return metrics.style_distance(maps, network.maps(style, of_style, "style"), of_style)

    return {
        "content_distance": content_distance,
        "style_distance": lambda: sum(
            share * style_distance(style.to(device)) for share, style in styles
        ),
    }


def _tiled_style_distance(
    tiling: Tiling, image: Tensor, style: Tensor, layers: Sequence[str]
) -> float:
    (sums,) = position_sums(tiling, style, layers)
    term = metrics.style_term(Style(map_shapes(tiling.encoder, style), sums=sums), layers)
    losses = TiledObjective(tiling, Objective([term]))(image)
    return float(losses.sums["style"]) / len(layers)


def peak_memory_mb() -> float:
    """Find the most memory that this process has had in RAM so far, in 10^6 bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux, whose getrusage starts from the size of the calling process
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _warn_left_out(name: str, error: Exception) -> None:
    # In one line, without the advice for a run that cannot start.
    reason = " ".join(str(error).partition("\nWhat to do:")[0].split())
    if not isinstance(error, NstError):
        reason = f"{type(error).__name__}: {reason[:200]}"
    log.warning(f"metrics: {name} left out: {reason}; logging.metrics=false switches them off")
