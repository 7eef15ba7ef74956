"""Coarse to fine: the levels' sizes and steps, and what is carried from one to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nst_exp import config
from nst_exp.images.tensors import resize


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
    """``steps`` divided in proportion to ``shares``, whose last entry repeats; at least 1 each."""
    filled = (shares or [1.0])[:levels]
    filled = filled + [filled[-1]] * (levels - len(filled))
    total = sum(filled)
    # Rounding the running sums makes the parts add up to `steps` exactly.
    ends = [round(steps * sum(filled[: i + 1]) / total) for i in range(levels)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def plan(settings: config.Resolution, size: int, steps: int) -> list[Level]:
    """The levels of a run."""
    sizes = level_sizes(settings, size)
    parts = level_steps(settings.shares, steps, len(sizes))
    return [
        Level(index, side, part, sum(parts[:index]))
        for index, (side, part) in enumerate(zip(sizes, parts, strict=True))
    ]


def carry_adam_state(state: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    """Adam's state of one level, (1, 3, h, w), resampled to the next level's size.

    Second moments are averages of squares, so what the resampling undershoots is cut at 0.
    """
    carried: dict[str, Any] = {}
    for name, value in state.items():
        if isinstance(value, Tensor) and value.dim() == 4:
            resized = resize(value, height, width)
            carried[name] = resized.clamp_min(0.0) if name.endswith("_sq") else resized
        else:
            carried[name] = value.clone() if torch.is_tensor(value) else value
    return carried
