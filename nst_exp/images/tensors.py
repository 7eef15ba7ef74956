"""Conversion of images to tensors and back; the only module here that needs torch."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.v2 import functional

from nst_exp.config.schema import Filter

_BAND = 256  # rows or columns that are averaged together, to save memory
_KERNELS = {
    Filter.bicubic: Image.Resampling.BICUBIC,
    Filter.bilinear: Image.Resampling.BILINEAR,
    Filter.nearest: Image.Resampling.NEAREST,
}


def to_tensor(
    image: Image.Image, size: tuple[int, int] | None, kernel: Filter = Filter.lanczos
) -> Tensor:
    """Convert an RGB image, resampled to ``size`` (width, height), to float32 (1, 3, H, W) in 0..1.

    None and the image's own size change no value. Bicubic, bilinear and nearest are Pillow's, which
    are antialiased and rounded to 8 bits.
    """
    if size is not None and size != image.size:
        if kernel in (Filter.area, Filter.bicubic_no_antialias):
            resample = _average if kernel is Filter.area else _bicubic
            result = torch.empty(1, 3, *size[::-1])
            for plane, channel in zip(result[0], image.split(), strict=True):  # to save memory
                resample(torch.from_numpy(np.array(channel)), plane)
            return result
        image = _resample(image, size, kernel)
    return _to_tensor(image)


def _to_tensor(image: Image.Image) -> Tensor:
    values = torch.from_numpy(np.array(image)).permute(2, 0, 1).unsqueeze(0)
    return values.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def _resample(image: Image.Image, size: tuple[int, int], kernel: Filter) -> Image.Image:
    if kernel is not Filter.lanczos:
        return image.resize(size, _KERNELS[kernel])
    # Lanczos keeps the fine texture that the style is measured on, but rings at enlarged edges.
    is_smaller = size[0] <= image.width and size[1] <= image.height
    resampling = Image.Resampling.LANCZOS if is_smaller else Image.Resampling.BICUBIC
    # First reduced by a whole number to no less than 3 times the size: about as fast as the
    # number of pixels allows, and within a level or so of resampling everything at once.
    return image.resize(size, resampling, reducing_gap=3.0)


def _bicubic(levels: Tensor, out: Tensor) -> None:
    """Resample a channel (h, w) of 0..255 to ``out`` (H, W), in 0..1, rounded to 8 bits."""
    values = interpolate(levels[None, None].float(), size=out.shape, mode="bicubic")
    out.copy_(values[0, 0].round_().clamp_(0, 255).div_(255))


def _average(levels: Tensor, out: Tensor) -> None:
    """Average a channel (h, w) of 0..255 over the area of each pixel of ``out`` (H, W), in 0..1.

    Partly covered pixels count by their share.
    """
    rows = torch.empty(len(out), levels.shape[1], dtype=torch.float64)
    for band, averaged in zip(
        torch.split(levels, _BAND, 1), torch.split(rows, _BAND, 1), strict=True
    ):
        averaged.copy_(_average_columns(band.double().div_(255), len(out)))
    for band, averaged in zip(torch.split(rows, _BAND), torch.split(out, _BAND), strict=True):
        averaged.copy_(_average_columns(band.T, out.shape[1]).T)


def _average_columns(values: Tensor, length: int) -> Tensor:
    # Differences of the integral, which is linear within an old pixel.
    edges = values.new_tensor(range(length + 1)) * (len(values) / length)
    first = edges.long().clamp(max=len(values) - 1)
    sums = values.cumsum(0) - values  # up to each old pixel
    integral = sums[first] + (edges - first)[:, None] * values[first]
    return integral.diff(dim=0) * (length / len(values))


def enlarge(image: Tensor, height: int, width: int) -> Tensor:
    """Resample a float image (N, C, H, W) to (N, C, height, width), clamped to 0..1.

    Bicubic with a = -0.75 and without antialiasing, as crowsonkb/style-transfer-pytorch enlarges
    the image from level to level.
    """
    return interpolate(image, size=(height, width), mode="bicubic").clamp(0.0, 1.0)


def scale(image: Tensor, factor: float) -> Tensor:
    """Resample an image (1, C, H, W) to ``factor`` times its size, bilinearly and antialiased."""
    size = [max(1, round(side * factor)) for side in image.shape[2:]]
    return interpolate(image, size=size, mode="bilinear", antialias=True) if factor != 1 else image


def rotate(image: Tensor, degrees: float) -> Tensor:
    """Rotate an image (1, C, H, W) counterclockwise: exactly by quarter turns, else bilinearly.

    The corners that the image leaves empty are cut off at its aspect ratio, with a pixel beside
    them that is part of both.
    """
    turns, rest = divmod(degrees, 90.0)
    if not rest:
        return image.rot90(int(turns), (2, 3))
    height, width = image.shape[2:]
    angle = math.radians(degrees)
    sine, cosine = abs(math.sin(angle)), abs(math.cos(angle))
    part = min(width / (width * cosine + height * sine), height / (width * sine + height * cosine))
    turned = functional.rotate(image, degrees, functional.InterpolationMode.BILINEAR)
    size = [int(height * part) - 2, int(width * part) - 2]
    cropped: Tensor = functional.center_crop(turned, size)
    return cropped


def to_array(image: Tensor) -> NDArray[Any]:
    """Convert an image (1, 3, H, W) to float32 (H, W, 3), clipped to 0..1; NaN stays NaN."""
    values = image.detach()[0].to("cpu", torch.float32).permute(1, 2, 0)
    array: NDArray[Any] = torch.clamp(values, 0, 1, out=torch.empty(values.shape)).numpy()
    return array


def reduce(image: Tensor, longest: int) -> Tensor:
    """Average an image (1, 3, H, W) down to ``longest`` pixels on its longer side, if it has more.

    The values of a smaller image are not changed.
    """
    height, width = image.shape[2:]
    if (side := max(height, width)) <= longest:
        return image
    size = [max(1, round(length * longest / side)) for length in (height, width)]
    return interpolate(image, size=size, mode="area")
