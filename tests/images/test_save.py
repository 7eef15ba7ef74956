"""A result is written complete, exact and tagged, or not at all."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageFile

from nst_exp.images import load_image, read_metadata, save_image
from nst_exp.images.save import SUFFIXES, SUFFIXES_16_BIT
from nst_exp.images.srgb import srgb_icc
from nst_exp.utils.errors import ConfigError, NumericalError, OutputError

METADATA = {
    "config": "content: Gemälde.png\nβ: 1e3\n" * 50,
    "short": "",
    "emoji": "🎨 \t\\ \"quoted\" 'text'",
}
FORMATS = [(suffix, 8) for suffix in sorted(SUFFIXES)]
FORMATS += [(suffix, 16) for suffix in sorted(SUFFIXES_16_BIT)]


def noise(height: int = 20, width: int = 33) -> np.ndarray:
    return np.random.default_rng(0).random((height, width, 3))


def ramp() -> np.ndarray:
    """All 65,536 levels, different in each channel."""
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    return np.stack([levels, levels.T, levels[::-1]], -1)


def read_16_bit(path: Path) -> np.ndarray:
    """Decode without our code: TIFF by tifffile, PNG by Pillow, one byte of each sample a time."""
    if path.suffix != ".png":
        return tifffile.imread(path)
    planes = []
    for order in "BL":
        with Image.open(path) as image:
            assert isinstance(image, ImageFile.ImageFile)
            assert image.tile[0].args == "RGB;16B"
            image.tile = [image.tile[0]._replace(args=f"RGB;16{order}")]
            planes.append(np.asarray(image).astype(np.uint16))
    return planes[0] << 8 | planes[1]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".PNG"])
def test_8_bits_are_exact(tmp_path: Path, suffix: str) -> None:
    levels = np.arange(256 * 3).reshape(16, 16, 3) % 256
    path = tmp_path / f"image{suffix}"
    for dtype in (np.float32, np.float64):
        save_image((levels / 255).astype(dtype), path)
        assert np.array_equal(np.asarray(Image.open(path)), levels)
        assert np.array_equal(np.asarray(load_image(path, key="x").image), levels)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_lossy_formats_are_close(tmp_path: Path, suffix: str) -> None:
    y, x = np.mgrid[0:64, 0:64] / 64
    pixels = np.stack([x, y, (x + y) / 2], -1)
    path = tmp_path / f"image{suffix}"
    save_image(pixels, path)
    assert np.abs(np.asarray(load_image(path, key="x").image) / 255 - pixels).mean() < 0.01
    if suffix != ".webp":
        with Image.open(path) as image:
            assert {part[1:3] for part in image.layer} == {(1, 1)}  # colors at full resolution


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_exact(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    for dtype in (np.float32, np.float64):
        save_image((ramp() / 65535).astype(dtype), path, bit_depth=16)
        assert np.array_equal(read_16_bit(path), ramp())
    assert np.abs(np.asarray(load_image(path, key="x").image) - ramp() / 257).max() <= 1
    for shape in ((1, 1), (1, 7), (5, 1), (512, 512)):
        pixels = noise(*shape)
        save_image(pixels, path, bit_depth=16)
        assert np.array_equal(read_16_bit(path), np.rint(pixels.astype(np.float32) * 65535))


def test_values_are_clipped_and_rounded(tmp_path: Path) -> None:
    values = np.array([-1e9, -0.1, 0, 0.4 / 255, 0.6 / 255, 0.5, 1, 1.1, 1e9])
    save_image(np.repeat(values[None, :, None], 3, -1), tmp_path / "x.png")
    result = np.asarray(Image.open(tmp_path / "x.png"))[0, :, 0]
    assert result.tolist() == [0, 0, 0, 0, 1, 128, 255, 255, 255]


@pytest.mark.parametrize(("suffix", "bit_depth"), FORMATS)
def test_tags_and_metadata(tmp_path: Path, suffix: str, bit_depth: int) -> None:
    path = tmp_path / f"x{suffix}"
    versions = set()
    for _ in range(2):
        save_image(noise(), path, bit_depth=bit_depth, metadata=METADATA)
        versions.add(path.read_bytes())
    assert len(versions) == 1
    assert read_metadata(path, key="x") == METADATA
    with Image.open(path) as image:
        if suffix == ".png":
            assert image.info["srgb"] == 0
        else:
            assert image.info["icc_profile"] == srgb_icc()
    assert all("profile" not in warning for warning in load_image(path, key="x").warnings)
    save_image(noise(), path, bit_depth=bit_depth)
    assert read_metadata(path, key="x") == {}


def test_the_embedded_profile_is_srgb() -> None:
    profile = ImageCms.ImageCmsProfile(BytesIO(srgb_icc()))
    assert "sRGB" in ImageCms.getProfileDescription(profile)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_text_that_no_encoding_can_hold_is_escaped(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    save_image(noise(), path, metadata={"file": os.fsdecode(b"\xe9\xff.jpg"), "nul": "a\0b"})
    found = read_metadata(path, key="x")
    assert found == {"file": "\\udce9\\udcff.jpg", "nul": "a\\0b"}


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    for value in (np.nan, np.inf, -np.inf):
        pixels = noise()
        pixels[3, 4, 1] = value
        with pytest.raises(NumericalError, match=r"x\.png: not written, because 1 of 1980 values"):
            save_image(pixels, path)
    for shape in ((4, 4), (4, 4, 4), (1, 3, 4, 4), (0, 4, 3)):
        with pytest.raises(ValueError, match="pixels must be"):
            save_image(np.zeros(shape), path)
    for name, depth in (("x.psd", 8), ("x.jpg", 16), ("x.webp", 16)):
        with pytest.raises(ValueError, match=f"{depth} bits cannot be written"):
            save_image(noise(), tmp_path / name, bit_depth=depth)
    for name in ("", "k" * 80, "βeta"):
        with pytest.raises(OutputError, match="cannot be written as"):
            save_image(noise(), path, metadata={name: "value"})
    with pytest.raises(OutputError, match=r"cannot be written as \.jpg: EXIF data is too long"):
        save_image(noise(), tmp_path / "x.jpg", metadata={"config": "x" * 70_000})
    with pytest.raises(OutputError, match=r"cannot be written as \.webp"):
        save_image(np.zeros((1, 16384, 3)), tmp_path / "x.webp")
    with pytest.raises(OutputError, match=r"x\.png: cannot be written: there is no folder"):
        save_image(noise(), tmp_path / "none" / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_result_is_refused_on_reading(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    save_image(noise(), path, metadata=METADATA, bit_depth=16)
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(ConfigError, match="the file is damaged or cut off"):
        read_metadata(path, key="init.file")
