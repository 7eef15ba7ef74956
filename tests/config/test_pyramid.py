"""Sizes and steps of the levels of a pyramid."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nst_exp.config.pyramid import Level, build_levels, level_sizes, level_steps
from nst_exp.config.schema import Resolution


@pytest.mark.parametrize(
    ("size", "settings", "expected"),
    [
        (512, {"ratio": math.sqrt(2)}, [128, 181, 256, 362, 512]),
        (512, {}, [128, 256, 512]),
        (255, {}, [128, 255]),  # 127.5 is rounded to 128
        (100, {}, [100]),  # smaller than the smallest level
        (512, {"sizes": [100, 333, 512]}, [100, 333, 512]),
        (512, {"pyramid": False, "min_size": 64}, [512]),
    ],
)
def test_sizes(size: int, settings: dict[str, object], expected: list[int]) -> None:
    resolution = Resolution(**{"pyramid": True, **settings})  # type: ignore[arg-type]
    assert level_sizes(resolution, size) == expected


@given(st.integers(1, 4000), st.floats(1.05, 4.0), st.integers(1, 500))
def test_sizes_grow_by_the_ratio_to_the_last(size: int, ratio: float, least: int) -> None:
    sizes = level_sizes(Resolution(pyramid=True, ratio=ratio, min_size=least), size)
    assert sizes[-1] == size
    assert sizes == sorted(sizes)
    assert len(sizes) == 1 or sizes[0] >= least
    for small, large in itertools.pairwise(sizes):
        assert abs(large - ratio * small) <= 0.5 * (1 + ratio)  # both are rounded


@given(st.lists(st.floats(1e-3, 1e3), max_size=6), st.integers(1, 8), st.integers(0, 2000))
def test_steps_add_up_and_every_level_has_one(shares: list[float], levels: int, more: int) -> None:
    parts = level_steps(shares, levels + more, levels)
    assert len(parts) == levels
    assert sum(parts) == levels + more
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


def test_levels() -> None:
    resolution = Resolution(pyramid=True, shares=[2, 1])
    assert build_levels(resolution, 512, 40) == [
        Level(0, 128, 20, 0),
        Level(1, 256, 10, 20),
        Level(2, 512, 10, 30),
    ]
