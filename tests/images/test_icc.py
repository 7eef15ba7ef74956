"""Colour profiles: expected values are computed here from the definitions, not by LittleCMS."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nst_exp.images import load_image
from nst_exp.images.colour import srgb_icc

# Primaries as XYZ relative to D50, in columns (published with the ICC profiles of these spaces)
SRGB = np.array([[0.4360, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
P3 = np.array([[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]])
D50 = (0.9642, 1.0, 0.8249)


def fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def icc_profile(space: bytes, kind: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    described = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(79)
    tags = {b"desc": described, b"cprt": b"text" + bytes(4) + b"none\0", **tags}
    body, table = b"", struct.pack(">I", len(tags))
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I", start + len(body)) + bytes(4) + b"\x02\x40\0\0"
    header += kind + space + connection + bytes(12) + b"acsp" + bytes(28) + fixed(*D50)
    return header.ljust(128, b"\0") + table + body


def xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + fixed(*values)


def gamma_curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def rgb_profile(primaries: np.ndarray, gamma: float) -> bytes:
    tags = {b"wtpt": xyz(*D50)}
    for column, letter in enumerate((b"r", b"g", b"b")):
        tags[letter + b"XYZ"] = xyz(*primaries[:, column])
        tags[letter + b"TRC"] = gamma_curve(gamma)
    return icc_profile(b"RGB ", b"mntr", b"XYZ ", tags)


def grey_profile(gamma: float) -> bytes:
    tags = {b"wtpt": xyz(*D50), b"kTRC": gamma_curve(gamma)}
    return icc_profile(b"GRAY", b"mntr", b"XYZ ", tags)


def cmyk_profile() -> bytes:
    """No ink is white, cyan alone is L* = 50, all other corners are black."""
    lab = np.zeros((2, 2, 2, 2, 3), np.uint8)
    lab[..., 1:] = 128
    lab[0, 0, 0, 0, 0], lab[1, 0, 0, 0, 0] = 255, 128
    identity = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table += identity * 4 + lab.tobytes() + identity * 3
    return icc_profile(b"CMYK", b"prtr", b"Lab ", {b"wtpt": xyz(*D50), b"A2B0": table})


def encoded(linear: np.ndarray) -> np.ndarray:
    linear = np.clip(linear, 0, 1)
    low, high = 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    return 255 * np.where(linear <= 0.0031308, low, high)


def colours() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def loaded(path: Path, image: Image.Image, icc: bytes) -> tuple[np.ndarray, list[str]]:
    image.save(path, icc_profile=icc)
    result = load_image(path, key="style")
    assert result.picture.info == {}
    return np.asarray(result.picture).astype(float), result.warnings


@pytest.mark.parametrize(("primaries", "gamma"), [(SRGB, 1.0), (SRGB, 1.8), (P3, 2.2)])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_rgb_profiles(tmp_path: Path, suffix: str, primaries: np.ndarray, gamma: float) -> None:
    linear = (colours() / 255.0) ** gamma @ primaries.T @ np.linalg.inv(SRGB).T
    result, warnings = loaded(
        tmp_path / f"x.{suffix}", Image.fromarray(colours()), rgb_profile(primaries, gamma)
    )
    assert np.abs(result - encoded(linear)).max() <= 2.5
    assert np.abs(colours() - encoded(linear)).mean() > 4  # the profile does matter
    assert warnings == []


def test_the_own_profile_changes_nothing(tmp_path: Path) -> None:
    result, warnings = loaded(tmp_path / "x.png", Image.fromarray(colours()), srgb_icc())
    assert np.abs(result - colours()).max() <= 1
    assert warnings == []
    assert srgb_icc()[24:36] == struct.pack(">6H", 2000, 1, 1, 0, 0, 0)


def test_grey_pictures(tmp_path: Path) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = encoded((grey / 255.0) ** 1.0)
    alpha = Image.merge("LA", [Image.fromarray(grey), Image.new("L", (16, 16), 255)])
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    for image in (Image.fromarray(grey), alpha, deep):
        for icc in (grey_profile(1.0), rgb_profile(SRGB, 1.0)):
            result, warnings = loaded(tmp_path / "x.png", image, icc)
            assert np.abs(result - expected[..., None]).max() <= 2, image.mode
            assert len(warnings) == image.mode.startswith("I")


def test_palette_and_transparency_go_through_the_profile(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([128, 64, 32, 0, 0, 0])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "x.png", transparency=1, icc_profile=rgb_profile(SRGB, 1.0))
    result = load_image(tmp_path / "x.png", key="style", background="gray").picture
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
        values = [result.picture.getpixel((x, 4)) for x in (4, 12, 20)]
        # L* = 128/255 * 100 is Y = 0.1857, which sRGB encodes as 119
        expected = np.array([[255] * 3, [120] * 3, [0] * 3])
        assert np.abs(np.array(values) - expected).max() <= 4, values
    result = loaded(tmp_path / "n.tif", inks, b"")
    assert result[0][0].tolist() == [[255, 255, 255], [0, 255, 255], [0, 0, 0]]
    assert result[1] == [
        f"style={tmp_path / 'n.tif'}: "
        "it is CMYK without a usable profile, so its colours are approximate"
    ]


def test_lab_tiff(tmp_path: Path) -> None:
    lab = Image.new("LAB", (2, 1), (128, 128, 128))
    lab.putpixel((1, 0), (255, 128, 128))
    result, warnings = loaded(tmp_path / "x.tif", lab, b"")
    assert np.abs(result[0] - [[120] * 3, [255] * 3]).max() <= 2
    assert warnings == []


def test_unusable_profiles_are_ignored_with_a_warning(tmp_path: Path) -> None:
    rgb = Image.fromarray(colours())
    cases = [
        (rgb, b"garbage", "its colour profile cannot be used ("),
        (rgb, rgb_profile(P3, 2.2)[:200], "its colour profile cannot be used ("),
        (rgb, grey_profile(1.0), "its colour profile is for GRAY, not RGB, and is ignored"),
        (rgb, cmyk_profile(), "its colour profile is for CMYK, not RGB, and is ignored"),
        (rgb.convert("CMYK"), rgb_profile(P3, 2.2), "its colour profile is for RGB, not CMYK"),
    ]
    for image, icc, warning in cases:
        path = tmp_path / "x.tif"
        result, warnings = loaded(path, image, icc)
        assert warnings[0].startswith(f"style={path}: {warning}")
        assert np.array_equal(result, colours())
