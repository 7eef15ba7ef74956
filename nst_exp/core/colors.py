"""Colors of two pictures compared as sets, wherever in the picture they are."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]

_MOST = 2**15  # pixels of a picture; sorting them along every direction takes a tenth of a second
_DIRECTIONS = 64
# IEC 61966-2-1; the sums of its rows are the white D65.
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def color_distance(image: Tensor, style: Tensor) -> float:
    """Sliced Wasserstein-1 distance of the two pictures' colors in CIE Lab, in its units.

    Pictures are (1, 3, H, W), sRGB in 0..1, and may differ in size.
    """
    return sliced_wasserstein(lab(_colors(image)), lab(_colors(style)))


def _colors(image: Tensor) -> Floats:
    """(1, 3, H, W) -> (n, 3): every k-th pixel of every k-th row, n at most _MOST."""
    height, width = image.shape[2:]
    stride = math.ceil(math.sqrt(height * width / _MOST))
    kept = image[0, :, ::stride, ::stride].reshape(3, -1).T
    return kept.double().cpu().numpy()


def lab(rgb: NDArray[Any]) -> Floats:
    """sRGB in 0..1 (n, 3) -> CIE 1976 L*a*b* (n, 3) under D65; L* is in 0..100."""
    rgb = np.asarray(rgb, dtype=np.float64)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    x = _product(linear, (_TO_XYZ / _TO_XYZ.sum(axis=1, keepdims=True)).T)
    edge = 6.0 / 29.0
    f = np.where(x > edge**3, np.cbrt(x), x / (3.0 * edge**2) + 4.0 / 29.0)
    lightness = 116.0 * f[:, 1] - 16.0
    return np.stack([lightness, 500.0 * (f[:, 0] - f[:, 1]), 200.0 * (f[:, 1] - f[:, 2])], axis=1)


def directions() -> Floats:
    """Unit vectors (64, 3), spread evenly over half a sphere: a spherical Fibonacci lattice."""
    index = np.arange(_DIRECTIONS)
    z = (index + 0.5) / _DIRECTIONS
    angle = index * math.pi * (3.0 - math.sqrt(5.0))
    radius = np.sqrt(1.0 - z**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)


def sliced_wasserstein(first: Floats, second: Floats) -> float:
    """Mean over ``directions()`` of the Wasserstein-1 distance of two point sets' projections.

    Points are (n, 3) and (m, 3). Where n and m differ, the quantile functions are compared at
    max(n, m) levels. Rabin, Peyre, Delon and Bernot 2012, with the distance not squared.
    """
    one, other = (_ordered(np.asarray(points, np.float64).tobytes()) for points in (first, second))
    most = max(len(first), len(second))
    levels = (np.arange(most) + 0.5) / most

    def quantiles(ordered: NDArray[np.float32]) -> NDArray[np.float32]:
        count = ordered.shape[1]
        return ordered if count == most else ordered[:, (levels * count).astype(np.intp)]

    return float(np.abs(quantiles(one) - quantiles(other)).mean(dtype=np.float64))


@lru_cache(maxsize=2)  # the jobs of a sweep mostly share their style
def _ordered(points: bytes) -> NDArray[np.float32]:
    """The projections (64, n) of points (n, 3), sorted along each direction."""
    projections = _product(directions(), np.frombuffer(points, np.float64).reshape(-1, 3).T)
    # float32 sorts twice as fast, and its rounding is 1e-5 of a unit of Lab.
    return np.sort(projections.astype(np.float32), axis=1)


def _product(first: Floats, second: Floats) -> Floats:
    """first @ second by torch: NumPy's threads wait busily afterwards, and halve torch's speed."""
    product: Floats = torch.mm(torch.tensor(first), torch.tensor(second)).numpy()
    return product
