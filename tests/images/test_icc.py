"""Color profiles: expected values are computed here from the definitions, not by LittleCMS."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from profiles import (
    ADOBE,
    P3,
    SRGB,
    as_srgb,
    cmyk_profile,
    encoded,
    gray_profile,
    rgb_profile,
)

from nst_exp.images import load_image
from nst_exp.images.srgb import srgb_icc


def colors() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def loaded(path: Path, image: Image.Image, icc: bytes) -> tuple[np.ndarray, list[str]]:
    image.save(path, icc_profile=icc)
    result = load_image(path, key="style")
    assert result.image.info == {}
    return np.asarray(result.image).astype(float), result.warnings


@pytest.mark.parametrize(
    ("primaries", "gamma"), [(SRGB, 1.0), (SRGB, 1.8), (P3, 2.2), (ADOBE, 2.19921875)]
)
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_rgb_profiles(tmp_path: Path, suffix: str, primaries: np.ndarray, gamma: float) -> None:
    expected = as_srgb(colors(), primaries, gamma)
    result, warnings = loaded(
        tmp_path / f"x.{suffix}", Image.fromarray(colors()), rgb_profile(primaries, gamma)
    )
    assert np.abs(result - expected).max() <= 2.5
    assert np.abs(colors() - expected).mean() > 4  # the profile does matter
    assert warnings == []


def test_the_own_profile_changes_nothing(tmp_path: Path) -> None:
    result, warnings = loaded(tmp_path / "x.png", Image.fromarray(colors()), srgb_icc())
    assert np.abs(result - colors()).max() <= 1
    assert warnings == []
    assert srgb_icc()[24:36] == struct.pack(">6H", 2000, 1, 1, 0, 0, 0)


def test_gray_pictures(tmp_path: Path) -> None:
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = encoded((gray / 255.0) ** 1.0)
    alpha = Image.merge("LA", [Image.fromarray(gray), Image.new("L", (16, 16), 255)])
    deep = Image.fromarray(gray.astype(np.uint16) * 257)
    for image in (Image.fromarray(gray), alpha, deep):
        for icc in (gray_profile(1.0), rgb_profile(SRGB, 1.0)):
            result, warnings = loaded(tmp_path / "x.png", image, icc)
            assert np.abs(result - expected[..., None]).max() <= 2, image.mode
            assert len(warnings) == image.mode.startswith("I")


def test_palette_and_transparency_go_through_the_profile(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([128, 64, 32, 0, 0, 0])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "x.png", transparency=1, icc_profile=rgb_profile(SRGB, 1.0))
    result = load_image(tmp_path / "x.png", key="style", background="gray").image
    expected = encoded(np.array([128, 64, 32]) / 255.0)
    assert np.abs(np.array(result.getpixel((0, 0))) - expected).max() <= 1.5
    assert result.getpixel((1, 0)) == (128, 128, 128)  # the background is sRGB already


def test_cmyk(tmp_path: Path) -> None:
    inks = Image.new("CMYK", (3, 1))
    inks.putpixel((1, 0), (255, 0, 0, 0))
    inks.putpixel((2, 0), (255, 255, 255, 255))
    for suffix in ("tif", "jpg"):
        path = tmp_path / f"x.{suffix}"
        inks.resize((24, 8), Image.Resampling.NEAREST).save(path, icc_profile=cmyk_profile())
        result = load_image(path, key="style")
        assert result.warnings == []
        values = [result.image.getpixel((x, 4)) for x in (4, 12, 20)]
        # L* = 128/255 * 100 is Y = 0.1857, which sRGB encodes as 119
        expected = np.array([[255] * 3, [120] * 3, [0] * 3])
        assert np.abs(np.array(values) - expected).max() <= 4, values
    result = loaded(tmp_path / "n.tif", inks, b"")
    assert result[0][0].tolist() == [[255, 255, 255], [0, 255, 255], [0, 0, 0]]
    assert result[1] == [
        f"style={tmp_path / 'n.tif'}: "
        "it is CMYK without a usable profile, so its colors are approximate"
    ]


def test_lab_tiff(tmp_path: Path) -> None:
    lab = Image.new("LAB", (2, 1), (128, 128, 128))
    lab.putpixel((1, 0), (255, 128, 128))
    result, warnings = loaded(tmp_path / "x.tif", lab, b"")
    assert np.abs(result[0] - [[120] * 3, [255] * 3]).max() <= 2
    assert warnings == []


def test_unusable_profiles_are_ignored_with_a_warning(tmp_path: Path) -> None:
    rgb = Image.fromarray(colors())
    cases = [
        (rgb, b"garbage", "its color profile cannot be used ("),
        (rgb, rgb_profile(P3, 2.2)[:200], "its color profile cannot be used ("),
        (rgb, gray_profile(1.0), "its color profile is for GRAY, not RGB: ignored"),
        (rgb, cmyk_profile(), "its color profile is for CMYK, not RGB: ignored"),
        (rgb.convert("CMYK"), rgb_profile(P3, 2.2), "its color profile is for RGB, not CMYK"),
    ]
    for image, icc, warning in cases:
        path = tmp_path / "x.tif"
        result, warnings = loaded(path, image, icc)
        assert warnings[0].startswith(f"style={path}: {warning}")
        assert np.array_equal(result, colors())


def test_a_damaged_profile_brings_no_control_characters_to_the_screen(tmp_path: Path) -> None:
    icc = bytearray(rgb_profile(P3, 2.2))
    icc[16:20] = b"R\0\x07B"
    _, warnings = loaded(tmp_path / "x.png", Image.fromarray(colors()), bytes(icc))
    assert len(warnings) == 1
    assert warnings[0].isprintable()
