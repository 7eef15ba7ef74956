"""Measures of a result that do not depend on how it was made; docs/metrics.md explains each.

Images are (1, 3, H, W), float32, RGB (sRGB) in 0..1.
"""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure
from torchvision.transforms.functional import rgb_to_grayscale

from nst_exp.config import schema
from nst_exp.core.image_terms import total_variation as image_variation
from nst_exp.core.targets import Features, Region, Style
from nst_exp.core.terms import ContentTerm, StyleTerm

_SSIM_RADIUS = 5  # of the window, 11 x 11
_SSIM_ROWS = 256  # of positions at a time: more would take 220 bytes per pixel
_MAX_COLORS = 2**15  # pixels of an image; sorting them in every direction takes 0.1 s
_DIRECTIONS = 64
# IEC 61966-2-1; the sums of its rows are the white D65.
_TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))


def content_distance(maps: Features, content_maps: Features, layers: Sequence[str]) -> float:
    """Compute sum (F - P)^2 / sum P^2, the mean over ``layers`` of a network."""
    settings = schema.ContentLoss(layers=list(layers), relative=True)
    return _mean_loss(ContentTerm(settings, 1.0, content_maps), maps)


def style_distance(maps: Features, style_maps: Features, layers: Sequence[str]) -> float:
    """Compute sum (G - A)^2 / sum A^2, the mean over ``layers`` of a network.

    Gram matrices are per position, so the style image may have another size.
    """
    return _mean_loss(style_term(Style(style_maps), layers), maps)


def style_term(style: Style, layers: Sequence[str]) -> StyleTerm:
    """Build the term whose mean over the layers is the style distance."""
    settings = schema.StyleLoss(layers=list(layers), relative=True)
    return StyleTerm("style", settings, 1.0, [Region([style])])


@torch.no_grad()
def _mean_loss(term: ContentTerm | StyleTerm, maps: Features) -> float:
    total, losses = term(next(iter(maps.values())), maps)
    return float(total / len(losses))


def psnr(image: Tensor, other: Tensor) -> float:
    """Compute the peak signal-to-noise ratio of two images in decibels, at most 100."""
    error = float((image - other).square().mean(dtype=torch.float64))
    return -10.0 * math.log10(max(error, 1e-10))


def ssim(image: Tensor, content: Tensor) -> float:
    """Compute the mean structural similarity of the luma, over all positions the window fits in.

    Wang, Bovik, Sheikh and Simoncelli 2004: a Gaussian window of 11 x 11 with a deviation of 1.5,
    K1 = 0.01, K2 = 0.03.

    Raises:
        ValueError: If the image has under 11 pixels on a side.
    """
    if min(image.shape[2:]) < 11:
        raise ValueError(f"{image.shape[3]}x{image.shape[2]} pixels, and the window is 11x11")
    luma = rgb_to_grayscale(image), rgb_to_grayscale(content)
    total, positions = 0.0, 0
    for top in range(0, image.shape[2] - 2 * _SSIM_RADIUS, _SSIM_ROWS):
        rows = slice(top, top + _SSIM_ROWS + 2 * _SSIM_RADIUS)
        first, second = (part[:, :, rows] for part in luma)
        _, values = cast(
            tuple[Tensor, Tensor],
            structural_similarity_index_measure(
                first, second, data_range=1.0, return_full_image=True
            ),
        )
        # Closer to the border torchmetrics reflects the image; its versions average differently.
        inner = values[..., _SSIM_RADIUS:-_SSIM_RADIUS, _SSIM_RADIUS:-_SSIM_RADIUS]
        total, positions = total + float(inner.sum(dtype=torch.float64)), positions + inner.numel()
    return total / positions


def total_variation(image: Tensor) -> float:
    """Compute ``sum |dx| + |dy|`` over the number of values, in 0..2."""
    settings = schema.TVLoss(kind=schema.TVKind.l1, reduction=schema.Reduction.mean)
    return float(image_variation(image, settings))


def sharpness(image: Tensor) -> float:
    """Compute the variance of the luma's Laplacian (four neighbors), where all neighbors exist.

    Pech-Pacheco et al. 2000, with luma 0.299 R + 0.587 G + 0.114 B (BT.601) in 0..1: 0..16.

    Raises:
        ValueError: If the image has under 3 pixels on a side.
    """
    luma = cast(Tensor, rgb_to_grayscale(image))[0, 0].double()
    if min(luma.shape) < 3:
        raise ValueError(f"{luma.shape[1]}x{luma.shape[0]} pixels, and the Laplacian needs 3x3")
    laplacian = (
        luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    )
    return float(laplacian.var(correction=0))


def color_distance(image: Tensor, style: Tensor) -> float:
    """Compute the sliced Wasserstein-1 distance of two images' colors in CIE Lab, in its units.

    Colors are compared as sets, wherever in the image they are; the sizes may differ.
    """
    return sliced_wasserstein(lab(_colors(image)), lab(_colors(style)))


def _colors(image: Tensor) -> Tensor:
    """Take every k-th pixel of every k-th row, at most _MAX_COLORS: (n, 3), float64."""
    height, width = image.shape[2:]
    stride = math.ceil(math.sqrt(height * width / _MAX_COLORS))
    return image[0, :, ::stride, ::stride].reshape(3, -1).T.double().cpu()


def lab(rgb: Tensor) -> Tensor:
    """Convert sRGB in 0..1, (n, 3), to CIE 1976 L*a*b* under D65; L* is in 0..100."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = rgb.new_tensor(_TO_XYZ)
    xyz = linear @ (to_xyz / to_xyz.sum(dim=1, keepdim=True)).T
    edge = 6.0 / 29.0
    x, y, z = torch.where(xyz > edge**3, xyz ** (1 / 3), xyz / (3.0 * edge**2) + 4.0 / 29.0).T
    return torch.stack([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)], dim=1)


def directions() -> Tensor:
    """Spread unit vectors (64, 3) evenly over half a sphere: a spherical Fibonacci lattice."""
    index = torch.arange(_DIRECTIONS, dtype=torch.float64)
    z = (index + 0.5) / _DIRECTIONS
    angle = index * math.pi * (3.0 - math.sqrt(5.0))
    radius = torch.sqrt(1.0 - z**2)
    return torch.stack([radius * angle.cos(), radius * angle.sin(), z], dim=1)


def sliced_wasserstein(first: Tensor, second: Tensor) -> float:
    """Average the Wasserstein-1 distance of two point sets' projections over ``directions()``.

    Points are (n, 3) and (m, 3), float64. If n and m differ, the quantile functions are compared
    at max(n, m) levels. Rabin, Peyre, Delon and Bernot 2012, with the distance not squared.
    """
    count = max(len(first), len(second))
    levels = (torch.arange(count) + 0.5) / count

    def quantiles(points: Tensor) -> Tensor:
        # float32 sorts twice as fast, and its rounding is 1e-5 of a unit of Lab.
        ordered = (directions() @ points.T).float().sort(dim=1).values
        return ordered[:, (levels * len(points)).long()]

    return float((quantiles(first) - quantiles(second)).abs().mean(dtype=torch.float64))
