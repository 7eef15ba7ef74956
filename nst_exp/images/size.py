"""The size of a run's image."""

from __future__ import annotations

from math import sqrt

from nst_exp.config.schema import SizeMode


def target_size(width: int, height: int, size: int, mode: SizeMode) -> tuple[int, int]:
    """Compute a size with the same aspect ratio.

    The side that ``mode`` names gets exactly ``size`` pixels; with ``area`` the image gets about
    ``size * size``. The other side is rounded, halves up, and is at least 1.

    Raises:
        ValueError: If a number is not positive.
    """
    if min(width, height, size) < 1:
        raise ValueError(f"sizes must be positive: {width} x {height} at {size}")
    if mode is SizeMode.area:
        side = sqrt(width) * sqrt(height)
        return max(1, int(width * size / side + 0.5)), max(1, int(height * size / side + 0.5))
    measured = {
        SizeMode.longest: max(width, height),
        SizeMode.shortest: min(width, height),
        SizeMode.height: height,
    }[mode]
    return _scale(width, size, measured), _scale(height, size, measured)


def _scale(length: int, numerator: int, denominator: int) -> int:
    # in integers, so that the measured side is exact
    return max(1, (2 * length * numerator + denominator) // (2 * denominator))
