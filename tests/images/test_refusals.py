"""Files that cannot be read are refused in one line that helps, or loaded with a warning."""

import os
import sys
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from image_files import GRAY, RGB, chunk, noise, png, png_header, smooth
from loading import array, load, refused, saved, written
from PIL import Image, PngImagePlugin

from nst_exp.images import read_metadata
from nst_exp.utils.errors import ConfigError
from tests.faults.images import judge


def test_paths_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photo.jpg").touch()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    for path, line in [
        ("phto.jpg", f"no such file (looked at {tmp_path}/phto.jpg); did you mean 'photo.jpg'?"),
        ("no/a.jpg", f"no such file (looked at {tmp_path}/no/a.jpg); correct the path"),
        ("dangling", f"no such file (looked at {tmp_path}/nowhere); correct the path"),
        ("~nobody-of-this-name/x.png", "no such file"),
        (str(tmp_path), "it is a folder or a device; name an image file"),
        ("fifo", "it is a folder or a device; name an image file"),
        ("photo.jpg", "the file is empty (0 bytes); copy or export it again"),
        ("loop", "it cannot be read (Too many levels of symbolic links); check the path"),
        ("x" * 256, "it cannot be read (File name too long); check the path"),
        ("nul\0.jpg", "it cannot be read (embedded null byte); check the path"),
        ("a\nb.jpg", "no such file"),
        (os.fsdecode(b"latin-\xe9.jpg"), "no such file"),
    ]:
        assert refused(path).startswith(line)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "it is a Git LFS pointer"),
        (b"\xef\xbb\xbf\r\n<HTML><body>Not Found", "it is a web page (HTML), not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is damaged, or not an image"),
        (
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99),
            "it is a HEIC image, damaged or without",
        ),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(99), "it is damaged, or not an image"),
        (bytes(range(128, 256)) * 9, "it is damaged, or not an image in a format that can be"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "the file is damaged or cut off (Pillow: "),
    ],
)
def test_what_is_not_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, reason: str
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it was not installed
    assert refused(written(tmp_path / "photo.jpg", data)).startswith(reason)


def test_cut_and_damaged_files(tmp_path: Path) -> None:
    image = Image.fromarray(noise(64, 64))
    for suffix in ("jpg", "webp", "png"):
        path = saved(tmp_path / f"x.{suffix}", image)
        whole = path.read_bytes()
        for end in (100, len(whole) // 2, len(whole) * 9 // 10):
            assert refused(written(path, whole[:end])).startswith("the file is damaged or cut off")
    assert np.array_equal(array(load(written(path, whole[:-12]))), noise(64, 64))  # no end marker
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 0xFF
    assert refused(written(path, bytes(changed))).endswith("; copy or export it again")


def test_too_many_pixels_are_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = png_header(20000, 10000, 8, RGB) + chunk(b"IDAT", b"")
    bomb = written(tmp_path / "bomb.png", data)
    assert "it has more pixels than max_megapixels=178 allows" in refused(bomb)
    assert "than max_megapixels=99.5 allows" in refused(bomb, max_megapixels=99.5)
    assert "cut off" in refused(bomb, max_megapixels=1000)  # beyond Pillow's own limit
    small = saved(tmp_path / "small.png", Image.new("RGB", (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert load(small, max_megapixels=0.01).original_size == (100, 100)
    assert "max_megapixels=0.009" in refused(small, max_megapixels=0.009)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_metadata_of_other_programs(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("before", "1")
    data = bytearray(saved(tmp_path / "x.png", smooth(8, 8), pnginfo=info).read_bytes())
    data[-12:-12] = chunk(b"tEXt", b"after\x002")
    path = written(tmp_path / "x.png", bytes(data))
    assert read_metadata(path, key="x") == {"before": "1", "after": "2"}
    exif = Image.Exif()
    for description in ("a sunny day", "[1]", "{"):
        exif[270] = description
        path = saved(tmp_path / "x.jpg", smooth(8, 8), exif=exif)
        assert read_metadata(path, key="x") == {}
    bomb = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(20_000_000)))
    path.write_bytes(png(np.array([[0]]), 8, GRAY, bomb))
    with pytest.raises(ConfigError, match=r"^init\.file=.*Decompressed data too large"):
        read_metadata(path, key="init.file")


def test_damaged_files_end_in_an_image_or_in_config_error(tmp_path: Path) -> None:
    ends = Counter(judge(number, tmp_path) for number in range(300))
    assert set(ends) == {"decoded", "refused"}
    assert min(ends.values()) > 60
