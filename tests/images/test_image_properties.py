"""Properties of loading and saving that hold for every image."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from picture_files import RGB, encoded, png, tiff

from nst_exp.images import load_image, save_image
from nst_exp.images.save import SUFFIXES_16_BIT

few = settings(max_examples=15, deadline=None)
sizes = array_shapes(min_dims=2, max_dims=2, max_side=9)


def arrays_of(channels: int, dtype: type = np.uint8) -> st.SearchStrategy[np.ndarray]:
    return sizes.flatmap(lambda size: arrays(dtype, (*size, channels)))


def loaded(name: str, data: bytes, **options: str) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        return np.asarray(load_image(path, key="content", **options).image).astype(float)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", sorted(SUFFIXES_16_BIT))
@given(pixels=arrays_of(3))
@few
def test_what_is_saved_without_loss_comes_back(suffix: str, pixels: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        save_image(pixels / 255, path)
        assert np.array_equal(np.asarray(load_image(path, key="x").image), pixels)
        save_image(pixels / 255, path, bit_depth=16)
        assert np.array_equal(np.asarray(load_image(path, key="x").image), pixels)


@given(pixels=arrays_of(3), interlaced=st.booleans())
@few
def test_the_same_pixels_in_other_orders(pixels: np.ndarray, interlaced: bool) -> None:
    assert np.array_equal(loaded("x.png", png(pixels, 8, RGB, interlaced=interlaced)), pixels)
    for order in "<>":
        for planar in (False, True):
            data = tiff(pixels, order=order, planar=planar, packed=interlaced)
            assert np.array_equal(loaded("x.tif", data), pixels)


@given(pixels=arrays_of(4), behind=st.tuples(*[st.integers(0, 255)] * 3))
@few
def test_transparency_is_a_mixture(pixels: np.ndarray, behind: tuple[int, int, int]) -> None:
    background = "#{:02x}{:02x}{:02x}".format(*behind)
    result = loaded("x.png", encoded(pixels, "PNG"), background=background)
    part = pixels[..., 3:] / 255
    # the mixture is rounded to whole levels
    assert np.abs(result - (pixels[..., :3] * part + np.array(behind) * (1 - part))).max() <= 1
