"""Color spaces given by code points (cICP, nclx): expected values follow the standards."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import RGB, Array, chunk, noise, png, smooth
from PIL import Image
from test_icc import SRGB, encoded, rgb_profile

from nst_exp.images import load_image

# To linear BT.709: ITU-R BT.2087, and the published matrix of Display P3
BT2020 = np.linalg.inv(
    [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.088, 0.8956]]
)
P3 = np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]])


def sdr(colors: Array) -> Array:
    """Decode sRGB levels to linear light 0..1."""
    values = colors / 255.0
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def pq(light: Array) -> Array:
    """Encode light, in cd/m^2, as levels 0..255 (SMPTE ST 2084)."""
    power = (light / 10_000) ** 0.1593017578125
    return 255 * ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(light: Array) -> Array:
    """Encode light, in cd/m^2, as levels 0..255, for a display of 1000 cd/m^2 (BT.2100)."""
    y = light @ [0.2627, 0.6780, 0.0593] / 1000
    scene = light / 1000 * np.maximum(y, 1e-9)[..., None] ** (1 / 1.2 - 1)
    high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return 255 * np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)


def levels(values: Array) -> Array:
    return np.rint(values).astype(np.uint8)


def loaded(path: Path, data: bytes) -> tuple[Array, list[str]]:
    """Load a file; return its pixels and the warnings without key and path."""
    path.write_bytes(data)
    result = load_image(path, key="style")
    assert result.image.info == {}
    notes = [line.removeprefix(f"style={path}: ") for line in result.warnings]
    return np.asarray(result.image).astype(float), notes


def cicp(samples: Array, primaries: int, transfer: int, full: int = 1, *more: bytes) -> bytes:
    """Make a PNG with a chunk cICP."""
    return png(samples, 8, RGB, *more, chunk(b"cICP", bytes([primaries, transfer, 0, full])))


def avif(samples: Array, primaries: int, transfer: int, **options: object) -> bytes:
    """Make an AVIF and change the code points of its nclx."""
    stream = io.BytesIO()
    Image.fromarray(samples).save(stream, "AVIF", quality=100, subsampling="4:4:4", **options)
    start, found, rest = stream.getvalue().partition(b"colrnclx")
    assert found
    return start + found + struct.pack(">HH", primaries, transfer) + rest[4:]


COLORS = noise(32, 32) // 2 + 64  # inside of sRGB in every color space below


def test_display_p3(tmp_path: Path) -> None:
    expected = encoded(sdr(COLORS) @ P3.T)
    for data, mean, most in [(cicp(COLORS, 12, 13), 0.5, 4), (avif(COLORS, 12, 13), 2, 20)]:
        result, notes = loaded(tmp_path / "x", data)
        difference = np.abs(result - expected)
        assert difference.mean() <= mean
        assert difference.max() <= most  # interpolation where a channel becomes 0
        assert notes == []


@pytest.mark.parametrize(("transfer", "encode"), [(16, pq), (18, hlg)])
def test_hdr_with_white_at_203_looks_like_sdr(
    tmp_path: Path, transfer: int, encode: Callable[[Array], Array]
) -> None:
    """A level of these signals, at 8 bits, is two to four levels of sRGB."""
    image = np.asarray(smooth(64, 48))
    light = sdr(image) @ np.linalg.inv(BT2020).T * 203
    samples = levels(encode(light))
    for data, mean in [(cicp(samples, 9, transfer), 1.5), (avif(samples, 9, transfer), 5)]:
        result, notes = loaded(tmp_path / "x", data)
        assert np.abs(result - image).mean() <= mean  # AVIF is lossy
        assert notes == []


@pytest.mark.parametrize(("transfer", "encode"), [(16, pq), (18, hlg)])
def test_highlights_are_compressed_in_order(
    tmp_path: Path, transfer: int, encode: Callable[[Array], Array]
) -> None:
    light = np.repeat(np.array([[0.0, 50, 101, 203, 406, 1000]]), 3, 0).T[None]
    result, _ = loaded(tmp_path / "x", cicp(levels(encode(light)), 9, transfer))
    row = result[0].mean(-1)
    assert np.ptp(result, axis=-1).max() <= 1  # gray stays gray
    assert np.abs(row[:3] - encoded(light[0, :3, 0] / 203)).max() <= 2  # below half of white
    assert np.all(np.diff(row) > 5)
    assert row[-1] == 255


def test_what_is_srgb_already_is_not_changed(tmp_path: Path) -> None:
    for primaries, transfer in [(1, 13), (1, 1), (2, 2), (2, 13), (1, 6)]:
        result, notes = loaded(tmp_path / "x", cicp(COLORS, primaries, transfer))
        assert np.array_equal(result, COLORS)
        assert notes == []


def test_limited_range(tmp_path: Path) -> None:
    samples = np.array([[[16, 16, 16], [126, 126, 126], [235, 235, 235]]])
    result, _ = loaded(tmp_path / "x", cicp(samples, 1, 13, 0))
    assert np.abs(result[0, :, 0] - [0, 128, 255]).max() <= 1
    image = np.asarray(smooth(64, 48))
    result, _ = loaded(tmp_path / "x", avif(image, 1, 13, range="limited"))
    assert np.abs(result - image).mean() <= 2


@pytest.mark.parametrize("make", [cicp, avif])
def test_other_color_spaces_are_a_warning_that_names_them(tmp_path: Path, make: Any) -> None:
    result, notes = loaded(tmp_path / "x", make(COLORS, 11, 17))
    assert np.abs(result - COLORS).mean() <= 1
    assert notes == [
        "its color space, primaries 11 (DCI-P3), transfer function 17 (DCI), is read as sRGB"
    ]
    _, notes = loaded(tmp_path / "x", make(COLORS, 9, 77))
    assert "primaries 9 (BT.2020), transfer function 77 (unknown)" in notes[0]


def test_priority_of_code_points_and_profiles(tmp_path: Path) -> None:
    """In PNG the code points that can be converted, in AVIF the profile."""
    icc = rgb_profile(SRGB, 1.0)
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(icc))
    from_profile, from_codes = encoded(COLORS / 255.0), encoded(sdr(COLORS) @ P3.T)
    for data, expected in [
        (cicp(COLORS, 12, 13, 1, profile), from_codes),
        (cicp(COLORS, 2, 2, 1, profile), from_profile),
        (cicp(COLORS, 11, 17, 1, profile), from_profile),
        (avif(COLORS, 12, 13, icc_profile=icc), from_profile),
    ]:
        result, notes = loaded(tmp_path / "x", data)
        assert np.abs(result - expected).mean() <= 1
        assert notes == []


def test_heic(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    path, image = tmp_path / "x.heic", smooth(64, 48)
    codes = {"color_primaries": 12, "transfer_characteristics": 13}
    pillow_heif.from_pillow(image).save(path, quality=100, chroma=444, **codes)
    result, notes = loaded(path, path.read_bytes())
    expected = np.clip(encoded(np.clip(sdr(np.asarray(image)) @ P3.T, 0, 1)), 0, 255)
    assert np.abs(result - expected).mean() <= 2
    assert notes == []
