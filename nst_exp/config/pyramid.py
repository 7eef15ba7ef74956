"""Levels of a run from coarse to fine: their sizes and steps."""

from __future__ import annotations

from dataclasses import dataclass

from nst_exp.config.schema import Resolution


@dataclass(frozen=True)
class Level:
    """One resolution of a run."""

    index: int
    size: int  # as Config.size
    steps: int
    first_step: int  # number of steps of the earlier levels


def build_levels(resolution: Resolution, size: int, steps: int) -> list[Level]:
    """Build the levels of a run."""
    sizes = level_sizes(resolution, size)
    parts = level_steps(resolution.shares, steps, len(sizes))
    return [
        Level(index, side, part, sum(parts[:index]))
        for index, (side, part) in enumerate(zip(sizes, parts, strict=True))
    ]


def level_sizes(resolution: Resolution, size: int) -> list[int]:
    """Return the sizes from coarse to fine; only ``size`` without a pyramid."""
    if not resolution.pyramid:
        return [size]
    if resolution.sizes:
        return list(resolution.sizes)
    sizes = [float(size)]
    # Rounded before the comparison, so that 512 / sqrt(2)^4 still counts as 128.
    while round(sizes[-1] / resolution.ratio) >= resolution.min_size:
        sizes.append(sizes[-1] / resolution.ratio)
    return [round(value) for value in reversed(sizes)]


def level_steps(shares: list[float], steps: int, levels: int) -> list[int]:
    """Divide ``steps`` in proportion to ``shares``, whose last entry repeats.

    Every level has at least one step, so there must be at least as many steps as levels.
    """
    filled = (shares or [1.0])[:levels]
    filled = filled + [filled[-1]] * (levels - len(filled))
    parts: list[int] = []
    for i in range(levels):
        # Rounding the running sums makes the parts add up to `steps` exactly.
        end = round(steps * sum(filled[: i + 1]) / sum(filled))
        end = min(end, steps - (levels - 1 - i))  # leaves one step for each later level
        parts.append(max(1, end - sum(parts)))
    return parts
