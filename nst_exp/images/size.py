"""The size of a run's image."""

from __future__ import annotations

from math import sqrt

from nst_exp.config.schema import SizeMode


def target_size(width: int, height: int, size: int, mode: SizeMode) -> tuple[int, int]:
    """Width and height with the aspect ratio of ``width`` x ``height``, measured by ``size``.

    ``longest``, ``shortest`` and ``height`` give that side exactly ``size`` pixels; ``area`` about
    ``size * size`` pixels. The other side is rounded, halves upwards, and is at least 1.
    Raises ValueError if a number is not positive.
    """
    if min(width, height, size) < 1:
        raise ValueError(f"sizes must be positive: {width} x {height} at {size}")
    if mode is SizeMode.area:
        side = sqrt(width) * sqrt(height)
        return max(1, int(width * size / side + 0.5)), max(1, int(height * size / side + 0.5))
    sides = {
        SizeMode.longest: max(width, height),
        SizeMode.shortest: min(width, height),
        SizeMode.height: height,
    }
    side_length = sides[mode]
    return _scaled(width, size, side_length), _scaled(height, size, side_length)


def _scaled(length: int, numerator: int, denominator: int) -> int:
    # in integers, so that the measured side is exact
    return max(1, (2 * length * numerator + denominator) // (2 * denominator))
