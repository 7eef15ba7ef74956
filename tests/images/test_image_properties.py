"""Laws of loading and saving that hold for every picture."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from nst_exp.images import DEEP_SUFFIXES, load_image, save_image
from tests.faults.picture_files import GRAY, RGB, encoded, png, tiff

few = settings(max_examples=15, deadline=None)
sizes = array_shapes(min_dims=2, max_dims=2, max_side=9)


def pictures(channels: int, dtype: type = np.uint8) -> st.SearchStrategy[np.ndarray]:
    return sizes.flatmap(lambda size: arrays(dtype, (*size, channels)))


def loaded(name: str, data: bytes, **options: str) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        return np.asarray(load_image(path, key="content", **options).picture).astype(float)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", sorted(DEEP_SUFFIXES))
@given(pixels=pictures(3))
@few
def test_what_is_saved_without_loss_comes_back(suffix: str, pixels: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        save_image(pixels / 255, path)
        assert np.array_equal(np.asarray(load_image(path, key="x").picture), pixels)
        save_image(pixels / 255, path, bit_depth=16)
        assert np.array_equal(np.asarray(load_image(path, key="x").picture), pixels)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "TGA", "QOI", "PCX", "WEBP"])
@given(pixels=pictures(3))
@few
def test_every_lossless_format_is_read_as_it_was_written(kind: str, pixels: np.ndarray) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(loaded("x.tga", encoded(pixels, kind, **options)), pixels)


@given(pixels=pictures(3), interlaced=st.booleans())
@few
def test_the_same_pixels_in_other_orders(pixels: np.ndarray, interlaced: bool) -> None:
    assert np.array_equal(loaded("x.png", png(pixels, 8, RGB, interlaced=interlaced)), pixels)
    for order in "<>":
        for planar in (False, True):
            data = tiff(pixels, order=order, planar=planar, packed=interlaced)
            assert np.array_equal(loaded("x.tif", data), pixels)


@given(pixels=pictures(3), first=st.integers(1, 8))
@few
def test_turning_by_the_tag_and_by_hand_is_the_same(pixels: np.ndarray, first: int) -> None:
    def turned(stored: np.ndarray, orientation: int) -> np.ndarray:
        exif = Image.Exif()
        exif[0x0112] = orientation
        return loaded("x.png", encoded(stored.astype(np.uint8), "PNG", exif=exif))

    inverse = {6: 8, 8: 6}.get(first, first)  # every other one undoes itself
    assert np.array_equal(turned(turned(pixels, first), inverse), pixels)
    # 2 mirrors; 6 turns clockwise; all others are made of these
    made_of = {1: [], 2: [2], 3: [6, 6], 4: [2, 6, 6], 5: [6, 2], 6: [6], 7: [2, 6], 8: [6, 6, 6]}
    expected = pixels.astype(float)
    for step in made_of[first]:
        expected = expected[:, ::-1] if step == 2 else np.rot90(expected, -1)
    assert np.array_equal(turned(pixels, first), expected)


@given(pixels=pictures(4), behind=st.tuples(*[st.integers(0, 255)] * 3))
@few
def test_transparency_is_a_mixture(pixels: np.ndarray, behind: tuple[int, int, int]) -> None:
    background = "#{:02x}{:02x}{:02x}".format(*behind)
    result = loaded("x.png", encoded(pixels, "PNG"), background=background)
    part = pixels[..., 3:] / 255
    # the mixture is rounded to whole levels
    assert np.abs(result - (pixels[..., :3] * part + np.array(behind) * (1 - part))).max() <= 1


@given(levels=sizes.flatmap(lambda size: arrays(np.uint16, size)))
@few
def test_16_bits_are_rounded_to_the_nearest_level(levels: np.ndarray) -> None:
    files = [png(levels, 16, GRAY), tiff(levels, 1), tiff(levels, 1, ">"), tiff(~levels, 0)]
    for data in files:
        assert np.array_equal(loaded("x", data)[..., 1], np.rint(levels / 257))
