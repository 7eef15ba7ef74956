"""Color profiles: expected values are computed here from the definitions, not by LittleCMS."""

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from image_files import Array, noise
from PIL import Image

from nst_exp.images import load_image
from nst_exp.images.srgb import srgb_icc

COLORS = noise(32, 32)

# Primaries as XYZ relative to D50, in columns (published with the ICC profiles of these spaces)
SRGB = np.array([[0.4360, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
ADOBE = np.array([[0.6097, 0.2053, 0.1492], [0.3111, 0.6257, 0.0632], [0.0195, 0.0609, 0.7446]])


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _profile(space: bytes, kind: bytes, connection: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    body, table = b"", struct.pack(">I", len(tags))
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I", start + len(body)) + bytes(4) + b"\x02\x40\0\0"
    header += kind + space + connection + bytes(12) + b"acsp" + bytes(28)
    header += _fixed(0.9642, 1.0, 0.8249)  # D50
    return header.ljust(128, b"\0") + table + body


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def rgb_profile(primaries: Array, gamma: float) -> bytes:
    """Make an RGB profile with these primaries; gamma in steps of 1/256."""
    tags = {}
    for column, letter in enumerate((b"r", b"g", b"b")):
        tags[letter + b"XYZ"] = b"XYZ " + bytes(4) + _fixed(*primaries[:, column])
        tags[letter + b"TRC"] = _curve(gamma)
    return _profile(b"RGB ", b"mntr", b"XYZ ", tags)


def gray_profile(gamma: float) -> bytes:
    """Make a profile for gray; gamma in steps of 1/256."""
    return _profile(b"GRAY", b"mntr", b"XYZ ", {b"kTRC": _curve(gamma)})


def cmyk_profile() -> bytes:
    """Make a profile: no ink is white, cyan alone L* = 128/255 * 100, all other corners black."""
    lab = np.zeros((2, 2, 2, 2, 3), np.uint8)
    lab[..., 1:] = 128
    lab[0, 0, 0, 0, 0], lab[1, 0, 0, 0, 0] = 255, 128
    identity = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table += identity * 4 + lab.tobytes() + identity * 3
    return _profile(b"CMYK", b"prtr", b"Lab ", {b"A2B0": table})


def encoded(linear: Array) -> Array:
    """Encode linear light 0..1 as sRGB levels 0..255, floats (IEC 61966-2-1)."""
    linear = np.clip(linear, 0, 1)
    low, high = 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    levels: Array = 255 * np.where(linear <= 0.0031308, low, high)
    return levels


def loaded(path: Path, image: Image.Image, icc: bytes) -> tuple[Array, list[str]]:
    """Save and load the image; return its pixels and the warnings without key and path."""
    image.save(path, icc_profile=icc, quality=95)
    result = load_image(path, key="style")
    assert result.image.info == {}
    notes = [line.removeprefix(f"style={path}: ") for line in result.warnings]
    return np.asarray(result.image).astype(float), notes


@pytest.mark.parametrize(("primaries", "gamma"), [(SRGB, 1.0), (SRGB, 1.8), (ADOBE, 2.19921875)])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_rgb_profiles(tmp_path: Path, suffix: str, primaries: Array, gamma: float) -> None:
    linear = (COLORS / 255.0) ** gamma
    expected = encoded(linear @ primaries.T @ np.linalg.inv(SRGB).T)
    icc = rgb_profile(primaries, gamma)
    result, notes = loaded(tmp_path / f"x.{suffix}", Image.fromarray(COLORS), icc)
    assert np.abs(result - expected).max() <= 2.5
    assert np.abs(COLORS - expected).mean() > 4  # the profile does matter
    assert notes == []


def test_our_own_profile_changes_nothing(tmp_path: Path) -> None:
    result, notes = loaded(tmp_path / "x.png", Image.fromarray(COLORS), srgb_icc())
    assert np.abs(result - COLORS).max() <= 1
    assert notes == []


def test_gray_images(tmp_path: Path) -> None:
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = encoded(gray / 255.0)
    alpha = Image.merge("LA", [Image.fromarray(gray), Image.new("L", (16, 16), 255)])
    wide = Image.fromarray(gray.astype(np.uint16) * 257)
    for image in (Image.fromarray(gray), alpha, wide):
        for icc in (gray_profile(1.0), rgb_profile(SRGB, 1.0)):
            result, notes = loaded(tmp_path / "x.png", image, icc)
            assert np.abs(result - expected[..., None]).max() <= 2, image.mode
            assert len(notes) == image.mode.startswith("I")


def test_palette_and_transparency_go_through_the_profile(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([128, 64, 32, 0, 0, 0])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "x.png", transparency=1, icc_profile=rgb_profile(SRGB, 1.0))
    result = load_image(tmp_path / "x.png", key="style", background="gray").image
    expected = encoded(np.array([128, 64, 32]) / 255.0)
    assert np.abs(np.array(result.getpixel((0, 0))) - expected).max() <= 1.5
    assert result.getpixel((1, 0)) == (128, 128, 128)  # the background is sRGB already


@pytest.mark.parametrize("suffix", ["tif", "jpg"])
def test_cmyk(tmp_path: Path, suffix: str) -> None:
    inks = Image.new("CMYK", (3, 1))
    inks.putpixel((1, 0), (255, 0, 0, 0))
    inks.putpixel((2, 0), (255, 255, 255, 255))
    large = inks.resize((24, 8), Image.Resampling.NEAREST)
    result, notes = loaded(tmp_path / f"x.{suffix}", large, cmyk_profile())
    # L* = 128/255 * 100 is Y = 0.1857, which sRGB encodes as 119
    assert np.abs(result[4, [4, 12, 20]] - [[255], [120], [0]]).max() <= 4
    assert notes == []
    result, notes = loaded(tmp_path / "n.tif", inks, b"")
    assert result[0].tolist() == [[255, 255, 255], [0, 255, 255], [0, 0, 0]]
    assert notes == ["it is CMYK without a usable profile, so its colors are approximate"]


def test_lab_tiff(tmp_path: Path) -> None:
    lab = Image.new("LAB", (2, 1), (128, 128, 128))
    lab.putpixel((1, 0), (255, 128, 128))
    result, notes = loaded(tmp_path / "x.tif", lab, b"")
    assert np.abs(result[0] - [[120], [255]]).max() <= 2
    assert notes == []


def test_unusable_profiles_are_ignored_with_a_warning(tmp_path: Path) -> None:
    rgb = Image.fromarray(COLORS)
    control = bytearray(rgb_profile(ADOBE, 2.2))
    control[16:20] = b"R\0\x07B"  # no control characters may reach the screen
    for image, icc, warning in [
        (rgb, b"garbage", "its color profile cannot be used ("),
        (rgb, rgb_profile(ADOBE, 2.2)[:200], "its color profile cannot be used ("),
        (rgb, bytes(control), "its color profile "),
        (rgb, gray_profile(1.0), "its color profile is for GRAY, not RGB: ignored"),
        (rgb.convert("CMYK"), rgb_profile(ADOBE, 2.2), "its color profile is for RGB, not CMYK"),
    ]:
        result, notes = loaded(tmp_path / "x.tif", image, icc)
        assert notes[0].startswith(warning)
        assert notes[0].isprintable()
        assert np.array_equal(result, COLORS)
