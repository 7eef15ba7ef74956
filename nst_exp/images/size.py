"""The size of a run's image."""

from math import sqrt

from nst_exp.config.schema import SizeMode


def target_size(width: int, height: int, size: int, mode: SizeMode) -> tuple[int, int]:
    """Compute a size with the same aspect ratio.

    The side that ``mode`` names gets exactly ``size`` pixels; with ``area`` the image gets about
    ``size * size``. The other side is rounded, halves up, and is at least 1.
    """
    measured = {
        SizeMode.longest: max(width, height),
        SizeMode.shortest: min(width, height),
        SizeMode.height: height,
        SizeMode.area: sqrt(width) * sqrt(height),
    }[mode]
    w, h = (int(side * size / measured + 0.5) for side in (width, height))
    return max(1, w), max(1, h)
