"""Color-coded maps: which colors are regions, and which pixel belongs to which."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

Color = tuple[int, int, int]
Labels = NDArray[np.int64]
"""The index of each pixel's region, (H, W)."""

_LEVELS = 8  # colors are first counted in steps of 8
_FLAT = 32  # differences of neighbors within a region, of a JPEG too


def find_colors(
    maps: Sequence[NDArray[np.uint8]], tolerance: float, min_share: float
) -> list[Color]:
    """Find the colors of the regions of one or several maps, (H, W, 3) each.

    The most frequent color is the first. A color within ``tolerance`` of an earlier one, as
    distance in RGB, belongs to it. A color that covers less than ``min_share`` of every map makes
    no region, nor do mixed colors at the borders of a JPEG or a smoothed map.
    """
    shares: dict[tuple[int, ...], float] = {}
    for array in maps:
        coarse = array[_is_flat(array)] // _LEVELS
        colors, _, counts = _unique(coarse)
        for color, count in zip(colors.tolist(), counts.tolist(), strict=True):
            shares[tuple(color)] = shares.get(tuple(color), 0.0) + count / len(coarse)
    centers: list[NDArray[np.float64]] = []
    for color in sorted(shares, key=lambda color: (-shares[color], color)):
        center = np.array(color) * _LEVELS + (_LEVELS - 1) / 2
        if all(np.linalg.norm(center - other) > tolerance for other in centers):
            centers.append(center)
    found = np.array(centers)
    largest = np.zeros(len(found))
    for array in maps:
        counts = np.bincount(_nearest(array, found).ravel(), minlength=len(found))
        largest = np.maximum(largest, counts / counts.sum())
    limit = min(min_share, largest.max())  # a map of noise has one region
    kept = [index for index, share in enumerate(largest) if share >= limit]
    return [_median_color(maps, found, index) for index in kept]


def label(array: NDArray[np.uint8], colors: Sequence[Color], min_share: float) -> Labels:
    """Assign every pixel of a map (H, W, 3) to the region with the nearest color.

    Colors that cover less than ``min_share`` of the map are not among them.
    """
    centers = np.array(colors, dtype=np.float64)
    labels = _nearest(array, centers)
    shares = np.bincount(labels.ravel(), minlength=len(centers)) / labels.size
    kept = np.flatnonzero(shares >= min(min_share, shares.max()))
    return kept[_nearest(array, centers[kept])]


def to_hex(color: Color) -> str:
    """Format a color as #rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def distance(color: Color, other: Color) -> float:
    """Measure the distance of two colors in RGB, 0..442."""
    return math.dist(color, other)


def parse_color(text: str) -> Color:
    """Read a color in Pillow's notation: a name, or #rrggbb.

    Raises:
        ValueError: If it is none.
    """
    red, green, blue = ImageColor.getrgb(text)[:3]
    return red, green, blue


def _nearest(array: NDArray[np.uint8], centers: NDArray[np.float64]) -> Labels:
    colors, inverse, _ = _unique(array.reshape(-1, 3))
    nearest = np.empty(len(colors), dtype=np.int64)
    for start in range(0, len(colors), 2**16):
        part = colors[start : start + 2**16, None, :].astype(np.float64)
        nearest[start : start + 2**16] = np.square(part - centers).sum(axis=2).argmin(axis=1)
    return nearest[inverse].reshape(array.shape[:2])


def _unique(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.int32], Labels, Labels]:
    """Return the colors of pixels (n, 3), the index of each pixel's color, and the counts."""
    codes = pixels.astype(np.int32) @ np.array([65536, 256, 1], dtype=np.int32)
    colors, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    return np.stack([colors >> 16, colors >> 8 & 255, colors & 255], axis=1), inverse, counts


def _is_flat(array: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Select the pixels whose color is about that of their four neighbors; all if none is."""
    flat = np.ones(array.shape[:2], dtype=bool)
    for axis in (0, 1):
        same = (np.abs(np.diff(array.astype(np.int16), axis=axis)) <= _FLAT).all(axis=2)
        first, last = (flat[1:], flat[:-1]) if axis == 0 else (flat[:, 1:], flat[:, :-1])
        first &= same
        last &= same
    return flat if flat.any() else np.ones_like(flat)


def _median_color(
    maps: Sequence[NDArray[np.uint8]], centers: NDArray[np.float64], index: int
) -> Color:
    """Return the median color of the pixels that are nearest to a center."""
    pixels = np.concatenate([array[_nearest(array, centers) == index] for array in maps])
    red, green, blue = np.median(pixels, axis=0).round().astype(int).tolist()
    return red, green, blue
