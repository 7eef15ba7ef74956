"""Sizes and steps of the levels of a pyramid."""

import itertools
import math
from typing import Any

import pytest
from hypothesis import given, strategies as st

from nst_exp.config.pyramid import Level, build_levels, levels_of, optimizer_at
from nst_exp.config.schema import Config, LevelSettings, Resolution


def entries(key: str, *values: float) -> list[LevelSettings]:
    return [LevelSettings(**{key: value}) for value in values]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "size", "sizes"),
    [
        ({"ratio": math.sqrt(2)}, 512, [128, 181, 256, 362, 512]),
        ({}, 512, [128, 256, 512]),
        ({}, 255, [128, 255]),  # 127.5 is rounded to 128
        ({}, 100, [100]),  # smaller than the smallest level
        ({"sizes": [100, 333, 512]}, 512, [100, 333, 512]),
        ({"pyramid": False, "min_size": 64}, 512, [512]),
        ({"ratio": 1.5, "min_size": 1}, 5, [1, 2, 3, 5]),  # 1.48 and 0.99 are both 1
        ({"levels": entries("size", 100, 512, 512)}, 512, [100, 512, 512]),
        ({"levels": entries("scale", 0.2, 0.5, 1.0)}, 333, [67, 166, 333]),
        ({"levels": entries("history", 100, 10)}, 512, [128, 256, 512]),
    ],
)
def test_sizes(settings: dict[str, Any], size: int, sizes: list[int]) -> None:
    levels = build_levels(Resolution(**{"pyramid": True, **settings}), size, 100)
    assert [level.size for level in levels] == sizes


def test_levels_of_crowsonkb_for_every_size() -> None:
    """The rule of the program's gen_scales: each from the final size, not from the one before."""
    resolution = Resolution(pyramid=True, ratio=1.4142135623730951, min_size=128)
    for end in range(128, 2049):
        halvings = (round(end / pow(2, i / 2)) for i in range(12))
        expected = sorted({size for size in halvings if size >= 128})
        assert [level.size for level in build_levels(resolution, end, 1000)] == expected, end


@pytest.mark.parametrize(
    ("shares", "steps", "expected"),
    [
        ([7.0, 2.0], None, [7, 2, 2]),
        ([5.0, 1.0, 3.0, 4.0], None, [5, 1, 3]),
        ([], 100, [33, 34, 33]),
        ([2.0, 1.0], 400, [200, 100, 100]),  # the last share repeats
        ([1.0, 2.0, 3.0, 4.0], 30, [5, 10, 15]),  # more shares than levels
        ([1000.0, 1.0, 1.0], 10, [8, 1, 1]),
    ],
)
def test_steps_follow_the_shares(
    shares: list[float], steps: int | None, expected: list[int]
) -> None:
    levels = build_levels(Resolution(pyramid=True, shares=shares), 512, steps)
    assert [level.steps for level in levels] == expected
    assert levels[-1] == Level(2, 512, expected[2], expected[0] + expected[1])


def test_settings_belong_to_levels_from_the_first_on_and_the_last_repeats() -> None:
    config = Config(size=512, steps=None, resolution=Resolution(pyramid=True, shares=[9.0]))
    config.optimizer.last_factor = 0.5
    first, second = LevelSettings(steps=7, history=100), LevelSettings(steps=2, lr_factor=3.0)
    config.resolution.levels = [first, second]
    levels = levels_of(config)
    assert [level.settings for level in levels] == [first, second, second]
    assert [(level.steps, level.first_step) for level in levels] == [(7, 0), (2, 7), (2, 9)]
    found = [vars(optimizer_at(config, level)) for level in levels]
    assert [optimizer["history"] for optimizer in found] == [100, 50, 50]
    assert [optimizer["lr"] for optimizer in found] == [1.0, 3.0, 1.5]


@given(
    st.builds(
        Resolution,
        pyramid=st.just(True),
        ratio=st.floats(1.05, 4.0),
        min_size=st.integers(1, 500),
        shares=st.lists(st.floats(1e-3, 1e3), max_size=6),
    ),
    st.integers(1, 4000),
    st.integers(200, 2000),
)
def test_every_level_has_a_step_and_sizes_grow_by_the_ratio(
    resolution: Resolution, size: int, steps: int
) -> None:
    levels = build_levels(resolution, size, steps)
    assert sum(level.steps for level in levels) == steps
    assert min(level.steps for level in levels) >= 1
    assert levels[-1].size == size
    assert len(levels) == 1 or levels[0].size >= resolution.min_size
    for small, large in itertools.pairwise(levels):
        assert large.first_step == small.first_step + small.steps
        error = abs(large.size - resolution.ratio * small.size)
        assert error <= 0.5 * (1 + resolution.ratio)  # both are rounded
