"""Coarse to fine: the levels' sizes and steps. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from nst_exp.config import schema as config
from nst_exp.utils.errors import ConfigError


@dataclass(frozen=True)
class Level:
    """One resolution of a run."""

    index: int
    size: int  # as Config.size
    steps: int
    first_step: int  # steps of the run before this level


def level_sizes(settings: config.Resolution, size: int) -> list[int]:
    """Sizes from coarse to fine; the last is ``size``. A single size unless pyramid is true."""
    if not settings.pyramid:
        return [size]
    if settings.sizes:
        return list(settings.sizes)
    sizes = [float(size)]
    # Rounded before the comparison, so that 512 / sqrt(2)^4 still counts as 128.
    while round(sizes[-1] / settings.ratio) >= settings.min_size:
        sizes.append(sizes[-1] / settings.ratio)
    return [round(value) for value in reversed(sizes)]


def level_steps(shares: list[float], steps: int, levels: int) -> list[int]:
    """``steps`` divided in proportion to ``shares``, whose last entry repeats; at least 1 each.

    Raises ConfigError if there are fewer steps than levels.
    """
    if steps < levels:
        raise ConfigError(f"steps={steps}: {levels} levels need at least one step each")
    filled = (shares or [1.0])[:levels]
    filled = filled + [filled[-1]] * (levels - len(filled))
    total = sum(filled)
    parts: list[int] = []
    for i in range(levels):
        # Rounding the running sums makes the parts add up to `steps` exactly.
        end = round(steps * sum(filled[: i + 1]) / total)
        end = min(end, steps - (levels - 1 - i))  # leaves one step for each level that follows
        parts.append(max(1, end - sum(parts)))
    return parts


def plan(settings: config.Resolution, size: int, steps: int) -> list[Level]:
    """The levels of a run."""
    sizes = level_sizes(settings, size)
    parts = level_steps(settings.shares, steps, len(sizes))
    return [
        Level(index, side, part, sum(parts[:index]))
        for index, (side, part) in enumerate(zip(sizes, parts, strict=True))
    ]
