"""A result is written complete, exact and tagged, or not at all."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from image_files import smooth
from PIL import Image, ImageCms, ImageFile

from nst_exp.config.output import SUFFIXES
from nst_exp.images import load_image, read_metadata, save_image
from nst_exp.images.save import SUFFIXES_16_BIT, quantize
from nst_exp.utils.errors import NumericalError, OutputError

METADATA = {"config": "content: Gemälde.png\n" * 50, "short": "", "quoted": "\t\\ \"a\" 'b'"}
FORMATS = [(suffix, 8) for suffix in sorted(SUFFIXES)]
FORMATS += [(suffix, 16) for suffix in sorted(SUFFIXES_16_BIT)]
NOISE = np.random.default_rng(0).random((20, 33, 3))


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


@pytest.mark.parametrize("suffix", [".png", ".tif", ".PNG"])
def test_8_bits_are_exact(tmp_path: Path, suffix: str) -> None:
    levels = np.arange(256 * 3).reshape(16, 16, 3) % 256
    path = tmp_path / f"image{suffix}"
    save_image(levels / 255, path)
    assert np.array_equal(np.asarray(Image.open(path)), levels)
    assert np.array_equal(np.asarray(load_image(path, key="x").image), levels)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_formats_are_close(tmp_path: Path, suffix: str) -> None:
    pixels = np.asarray(smooth(64, 64)) / 255
    path = tmp_path / f"image{suffix}"
    save_image(pixels, path)
    assert np.abs(np.asarray(load_image(path, key="x").image) / 255 - pixels).mean() < 0.01
    if suffix == ".jpg":
        with Image.open(path) as image:
            assert {part[1:3] for part in image.layer} == {(1, 1)}  # colors at full resolution


@pytest.mark.parametrize("suffix", sorted(SUFFIXES_16_BIT))
def test_bands_of_many_rows_are_exact(tmp_path: Path, suffix: str) -> None:
    levels = np.random.default_rng(0).integers(0, 65536, (600, 3, 3), dtype=np.uint16)
    save_image(levels / 65535, tmp_path / f"x{suffix}", bit_depth=16)
    assert np.array_equal(read_16_bit(tmp_path / f"x{suffix}"), levels)
    assert np.array_equal(quantize(levels / 65535), np.rint(levels / 257).astype(np.uint8))


def test_a_tiff_beyond_4_gigabytes_is_a_big_tiff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Classic TIFFs have offsets of 32 bits; the limit is lowered for the test."""
    pixels, magic = np.full((20, 20, 3), 0.5), []
    for limit in (2**32 - 2**25, 20 * 20 * 3):
        monkeypatch.setattr("nst_exp.images.save._MAX_TIFF", limit)
        save_image(pixels, tmp_path / "x.tif", bit_depth=16, metadata={"a": "b"})
        magic.append((tmp_path / "x.tif").read_bytes()[2])
        image = load_image(tmp_path / "x.tif", key="x").image
        assert image.getextrema() == ((128, 128),) * 3
        assert read_metadata(tmp_path / "x.tif", key="x") == {"a": "b"}
    assert magic == [42, 43]


@pytest.mark.parametrize("suffix", sorted(SUFFIXES_16_BIT))
def test_16_bits_are_exact(tmp_path: Path, suffix: str) -> None:
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    samples = np.stack([levels, levels.T, levels[::-1]], -1)
    path = tmp_path / f"image{suffix}"
    for part in (samples, samples[:1, :1], samples[:5, :1], samples[:1, :7]):
        save_image(part / 65535, path, bit_depth=16)
        assert np.array_equal(read_16_bit(path), part)
        assert np.abs(np.asarray(load_image(path, key="x").image) - part / 257).max() <= 1


def test_values_are_clipped_and_rounded(tmp_path: Path) -> None:
    values = np.array([-1e9, -0.1, 0, 0.4 / 255, 0.6 / 255, 0.5, 1, 1.1, 1e9])
    save_image(np.repeat(values[None, :, None], 3, -1), tmp_path / "x.png")
    result = np.asarray(Image.open(tmp_path / "x.png"))[0, :, 0]
    assert result.tolist() == [0, 0, 0, 0, 1, 128, 255, 255, 255]


@pytest.mark.parametrize(("suffix", "bit_depth"), FORMATS)
def test_tags_and_metadata(tmp_path: Path, suffix: str, bit_depth: int) -> None:
    path = tmp_path / f"x{suffix}"
    save_image(NOISE, path, bit_depth=bit_depth)
    assert read_metadata(path, key="x") == {}
    save_image(NOISE, path, bit_depth=bit_depth, metadata=METADATA)
    assert read_metadata(path, key="x") == METADATA
    with Image.open(path) as image:
        if suffix == ".png":
            assert image.info["srgb"] == 0
        else:
            icc = image.info["icc_profile"]
            assert "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(icc)))
            assert icc[24:26] == (2000).to_bytes(2, "big")  # the year, so that bytes are repeated
    assert all("profile" not in warning for warning in load_image(path, key="x").warnings)


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    for value in (np.nan, np.inf, -np.inf):
        pixels = NOISE.copy()
        pixels[3, 4, 1] = value
        with pytest.raises(NumericalError, match=r"x\.png: not written, because 1 of 1980 values"):
            save_image(pixels, path)
    with pytest.raises(OutputError, match=r"cannot be written as \.jpg: EXIF data is too long"):
        save_image(NOISE, tmp_path / "x.jpg", metadata={"config": "x" * 70_000})
    with pytest.raises(OutputError, match=r"cannot be written as \.webp"):
        save_image(np.zeros((1, 16384, 3)), tmp_path / "x.webp")
    with pytest.raises(OutputError, match=r"x\.png: cannot be written: there is no folder"):
        save_image(NOISE, tmp_path / "none" / "x.png")
    assert list(tmp_path.iterdir()) == []
