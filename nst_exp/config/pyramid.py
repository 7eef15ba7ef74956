"""Levels of a run from coarse to fine: their sizes, steps and settings."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from nst_exp.config.schema import LBFGS, ColorMode, Config, LevelSettings, Optimizer, Resolution


@dataclass(frozen=True)
class Level:
    """One resolution of a run."""

    index: int
    size: int  # as Config.size
    steps: int
    first_step: int  # number of steps of the earlier levels
    settings: LevelSettings = field(default_factory=LevelSettings)


def build_levels(resolution: Resolution, size: int, steps: int | None) -> list[Level]:
    """Build the levels of a run, from coarse to fine; without a pyramid only one.

    ``steps`` are divided by the shares; None takes each share, or the steps of its settings, as the
    steps of a level. Every level has at least one step, also if ``steps`` is smaller than the
    number of levels.
    """
    sizes = _level_sizes(resolution, size)
    entries = resolution.levels or [LevelSettings()]
    entries = (entries + entries[-1:] * len(sizes))[: len(sizes)]
    parts = [entry.steps for entry in entries if entry.steps is not None]  # all or none
    parts = parts or _level_steps(resolution.shares or [1.0], steps, len(sizes))
    return [
        Level(index, side, part, sum(parts[:index]), entry)
        for index, (side, part, entry) in enumerate(zip(sizes, parts, entries, strict=True))
    ]


def optimizer_at(config: Config, level: Level) -> Optimizer:
    """Return the settings of the optimizer at a level."""
    own, optimizer = level.settings, config.optimizer
    lr = optimizer.lr * (own.lr_factor or 1.0)
    if level.index > 0 and level.first_step + level.steps == total_steps(config):
        lr *= optimizer.last_factor
    optimizer = replace(optimizer, lr=lr)
    if isinstance(optimizer, LBFGS):
        optimizer = replace(optimizer, history=own.history or optimizer.history)
    return optimizer


def total_steps(config: Config) -> int:
    """Return the steps of a run, over all levels."""
    return sum(level.steps for level in levels_of(config))


def levels_of(config: Config) -> list[Level]:
    """Build the levels of a run; one of 0 steps if nothing is optimized."""
    levels = build_levels(config.resolution, config.size, config.steps)
    if config.color is ColorMode.transfer:
        return [Level(0, config.size, 0, 0)]
    return levels


def with_more_steps(levels: Sequence[Level], before: Sequence[int]) -> list[Level]:
    """Give the levels the steps that they had ``before``, and the last one those that are new."""
    last = sum(level.steps for level in levels) - sum(before[:-1])
    parts = [*before[:-1], last]
    return [
        replace(level, steps=part, first_step=sum(parts[:index]))
        for index, (level, part) in enumerate(zip(levels, parts, strict=True))
    ]


def _level_sizes(resolution: Resolution, size: int) -> list[int]:
    if not resolution.pyramid:
        return [size]
    # All levels have a size, or a scale, or neither.
    if scales := [entry.scale for entry in resolution.levels if entry.scale is not None]:
        return [max(1, round(scale * size)) for scale in scales]
    if listed := [entry.size for entry in resolution.levels if entry.size is not None]:
        return listed
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
