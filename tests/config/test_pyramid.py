"""The pyramid's levels, and what Adam takes from one to the next."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nst_exp.config.pyramid import Level, build_levels, level_sizes, level_steps
from nst_exp.config.schema import Resolution
from nst_exp.core.optimizers import carry_adam_state
from nst_exp.utils.errors import ConfigError


def test_one_level_unless_a_pyramid_is_asked_for() -> None:
    assert level_sizes(Resolution(sizes=[], min_size=64), 512) == [512]


@pytest.mark.parametrize(
    ("size", "ratio", "expected"),
    [
        (512, math.sqrt(2), [128, 181, 256, 362, 512]),
        (512, 2.0, [128, 256, 512]),
        (300, 2.0, [150, 300]),
        (255, 2.0, [128, 255]),  # 127.5 is rounded to 128
        (100, 2.0, [100]),  # below the smallest already
    ],
)
def test_sizes_by_ratio(size: int, ratio: float, expected: list[int]) -> None:
    assert level_sizes(Resolution(pyramid=True, min_size=128, ratio=ratio), size) == expected


def test_sizes_as_given() -> None:
    settings = Resolution(pyramid=True, sizes=[100, 333, 512], ratio=2.0)
    assert level_sizes(settings, 512) == [100, 333, 512]


@given(st.integers(1, 4000), st.floats(1.05, 4.0), st.integers(1, 500))
def test_sizes_grow_to_the_last(size: int, ratio: float, least: int) -> None:
    sizes = level_sizes(Resolution(pyramid=True, ratio=ratio, min_size=least), size)
    assert sizes[-1] == size
    assert sizes == sorted(sizes)
    assert len(sizes) == 1 or sizes[0] >= least
    for small, large in itertools.pairwise(sizes):
        assert abs(large - ratio * small) <= 0.5 * (1 + ratio)  # both are rounded


@given(st.lists(st.floats(1e-3, 1e3), max_size=6), st.integers(1, 8), st.integers(0, 2000))
def test_steps_add_up_and_no_level_goes_without(
    shares: list[float], levels: int, more: int
) -> None:
    steps = levels + more
    parts = level_steps(shares, steps, levels)
    assert len(parts) == levels
    assert sum(parts) == steps
    assert min(parts) >= 1


@pytest.mark.parametrize(
    ("shares", "steps", "levels", "expected"),
    [
        ([], 100, 3, [33, 34, 33]),
        ([2.0, 1.0], 400, 3, [200, 100, 100]),  # the last share repeats
        ([1.0, 2.0, 3.0], 30, 2, [10, 20]),  # more shares than levels
        ([1000.0, 1.0, 1.0], 10, 3, [8, 1, 1]),
    ],
)
def test_steps_follow_the_shares(
    shares: list[float], steps: int, levels: int, expected: list[int]
) -> None:
    assert level_steps(shares, steps, levels) == expected


def test_fewer_steps_than_levels_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"steps=2.*3 levels"):
        level_steps([], 2, 3)


def test_plan() -> None:
    settings = Resolution(pyramid=True, min_size=128, ratio=2.0, shares=[2, 1])
    assert build_levels(settings, 512, 40) == [
        Level(0, 128, 20, 0),
        Level(1, 256, 10, 20),
        Level(2, 512, 10, 30),
    ]


def adam_state(seed: int = 0) -> dict[str, Tensor]:
    """Moments of Adam after 300 gradients, whose size differs by orders from pixel to pixel."""
    generator = torch.Generator().manual_seed(seed)
    spread = torch.exp(2 * torch.randn(1, 3, 12, 10, generator=generator))
    mean, square = torch.zeros(1, 3, 12, 10), torch.zeros(1, 3, 12, 10)
    for _ in range(300):
        gradient = spread * torch.randn(1, 3, 12, 10, generator=generator)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient.square()
    return {"step": torch.tensor(300.0), "exp_avg": mean, "exp_avg_sq": square}


def test_adam_takes_no_longer_steps_after_the_change_of_size() -> None:
    state = adam_state()
    carried = carry_adam_state(state, 24, 20)
    before, after = ((s["exp_avg"].abs() / s["exp_avg_sq"].sqrt()).max() for s in (state, carried))
    assert carried["exp_avg"].shape == carried["exp_avg_sq"].shape == (1, 3, 24, 20)
    assert float(carried["exp_avg_sq"].min()) > 0
    # By Jensen's inequality: means with the same weights of m and of v >= (m / bound)^2.
    assert float(after) <= float(before) * (1 + 1e-5)


def test_even_moments_are_carried_as_they_are() -> None:
    state = {"exp_avg": torch.full((1, 3, 4, 4), -2.0), "exp_avg_sq": torch.full((1, 3, 4, 4), 5.0)}
    carried = carry_adam_state(state, 7, 9)
    torch.testing.assert_close(carried["exp_avg"], torch.full((1, 3, 7, 9), -2.0))
    torch.testing.assert_close(carried["exp_avg_sq"], torch.full((1, 3, 7, 9), 5.0))


def test_the_count_of_steps_is_a_copy() -> None:
    state = adam_state()
    carried = carry_adam_state(state, 12, 10)
    carried["step"] += 1
    assert float(state["step"]) == 300.0
