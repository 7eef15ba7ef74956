"""Target sizes keep the aspect ratio, whatever is measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nst_exp.config.schema import SizeMode
from nst_exp.images import target_size

sides = st.integers(1, 60_000)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (SizeMode.longest, (512, 256)),
        (SizeMode.shortest, (1024, 512)),
        (SizeMode.area, (724, 362)),
    ],
)
def test_examples(mode: SizeMode, expected: tuple[int, int]) -> None:
    assert target_size(2000, 1000, 512, mode) == expected
    assert target_size(1000, 2000, 512, mode) == expected[::-1]
    assert target_size(7, 7, 512, mode) == (512, 512)


def test_height_is_the_same_side_whichever_is_longer() -> None:
    assert target_size(2000, 1000, 400, SizeMode.height) == (800, 400)
    assert target_size(1000, 2000, 400, SizeMode.height) == (200, 400)
    assert target_size(7, 7, 400, SizeMode.height) == (400, 400)
    assert target_size(1, 60_000, 10, SizeMode.height) == (1, 10)


def test_extreme_shapes_keep_one_pixel() -> None:
    assert target_size(10_000, 8, 512, SizeMode.longest) == (512, 1)
    assert target_size(1, 60_000, 10, SizeMode.area) == (1, 2449)


@pytest.mark.parametrize("numbers", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (5, 5, -3)])
def test_sizes_must_be_positive(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="positive"):
        target_size(*numbers, SizeMode.longest)


@given(sides, sides, st.integers(1, 20_000), st.sampled_from(SizeMode))
def test_properties(width: int, height: int, size: int, mode: SizeMode) -> None:
    w, h = target_size(width, height, size, mode)
    assert min(w, h) >= 1
    if mode is SizeMode.height:  # the only one that tells the two sides apart
        assert h == size
    else:
        assert (h, w) == target_size(height, width, size, mode)
    if mode is SizeMode.longest:
        assert max(w, h) == size
    if mode is SizeMode.shortest:
        assert min(w, h) == size
    if mode is SizeMode.area:
        assert (w + 0.5) * (h + 0.5) >= size**2 * (1 - 1e-9)
        assert w == 1 or h == 1 or (w - 0.51) * (h - 0.51) <= size**2
    # each side is the exact one, rounded, or the least there is
    scale = {
        SizeMode.longest: size / max(width, height),
        SizeMode.shortest: size / min(width, height),
        SizeMode.area: size / (width * height) ** 0.5,
        SizeMode.height: size / height,
    }[mode]
    assert w == 1 or abs(w - width * scale) <= 0.5 + 1e-9 * w
    assert h == 1 or abs(h - height * scale) <= 0.5 + 1e-9 * h


@given(sides, sides)
def test_the_own_size_is_kept(width: int, height: int) -> None:
    assert target_size(width, height, max(width, height), SizeMode.longest) == (width, height)
    assert target_size(width, height, min(width, height), SizeMode.shortest) == (width, height)
    assert target_size(width, height, height, SizeMode.height) == (width, height)
