"""Levels of a run from coarse to fine: their sizes and steps."""

from dataclasses import dataclass

from nst_exp.config.schema import ColorMode, Config, Resolution


@dataclass(frozen=True)
class Level:
    """One resolution of a run."""

    index: int
    size: int  # as Config.size
    steps: int
    first_step: int  # number of steps of the earlier levels


def build_levels(resolution: Resolution, size: int, steps: int | None) -> list[Level]:
    """Build the levels of a run, from coarse to fine; without a pyramid only one.

    ``steps`` are divided by the shares; None takes each share as the steps of its level. Every
    level has at least one step, also if ``steps`` is smaller than the number of levels.
    """
    sizes = _level_sizes(resolution, size)
    parts = _level_steps(resolution.shares or [1.0], steps, len(sizes))
    return [
        Level(index, side, part, sum(parts[:index]))
        for index, (side, part) in enumerate(zip(sizes, parts, strict=True))
    ]


def total_steps(config: Config) -> int:
    """Return the steps of a run, over all levels."""
    return sum(level.steps for level in levels_of(config))


def levels_of(config: Config) -> list[Level]:
    """Build the levels of a run; one of 0 steps if nothing is optimized."""
    levels = build_levels(config.resolution, config.size, config.steps)
    if config.color is ColorMode.transfer:
        return [Level(0, config.size, 0, 0)]
    return levels


def _level_sizes(resolution: Resolution, size: int) -> list[int]:
    if not resolution.pyramid:
        return [size]
    if resolution.sizes:
        return list(resolution.sizes)
    sizes = [size]
    while (smaller := _divided(size, resolution.ratio ** len(sizes))) >= resolution.min_size:
        sizes.append(smaller)
    return sorted(set(sizes))  # small sizes may be rounded to the same


def _divided(size: int, factor: float) -> int:
    # Powers of an irrational ratio are inexact; 127.49999999999997 stands for 127.5.
    return round(round(size / factor, 6))


def _level_steps(shares: list[float], steps: int | None, levels: int) -> list[int]:
    """Divide ``steps`` in proportion to ``shares``, whose last entry repeats."""
    shares = (shares + shares[-1:] * levels)[:levels]
    if steps is None:
        return [int(share) for share in shares]
    parts: list[int] = []
    for i in range(levels):
        # Rounding the running sums makes the parts add up to `steps` exactly.
        end = round(steps * sum(shares[: i + 1]) / sum(shares))
        end = min(end, steps - (levels - 1 - i))  # leaves one step for each later level
        parts.append(max(1, end - sum(parts)))
    return parts
