"""A result is written whole, exact and tagged, or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from nst_exp.images import DEEP_SUFFIXES, SUFFIXES, load_image, read_metadata, save_image
from nst_exp.utils import atomic_files as files
from nst_exp.utils.atomic_files import remove_leftovers, write_atomically, write_text_atomically
from nst_exp.utils.errors import ConfigError, NumericalError, OutputError

METADATA = {
    "config": "content: Gemälde.png\nβ: 1e3\n" * 50,
    "short": "",
    "emoji": "🎨 \t\\ \"quoted\" 'text'",
}


def noise(height: int = 20, width: int = 33) -> np.ndarray:
    return np.random.default_rng(0).random((height, width, 3))


def ramp() -> np.ndarray:
    """All 65,536 levels, differently in each channel, as the floats that stand for them."""
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    return np.stack([levels, levels.T, levels[::-1]], -1)


def read_16_bit(path: Path) -> np.ndarray:
    """Decoded by Pillow, which keeps one byte of each sample: told first one, then the other."""
    planes = []
    for order in "BL":
        with Image.open(path) as image:
            assert isinstance(image, ImageFile.ImageFile)
            tile = image.tile[0]
            is_tuple = isinstance(tile.args, tuple)
            rawmode = tile.args[0] if is_tuple else tile.args
            assert rawmode.startswith("RGB;16")
            other = f"RGB;16{order}"
            image.tile = [tile._replace(args=(other, *tile.args[1:]) if is_tuple else other)]
            image.load()
            planes.append(np.asarray(image).astype(np.uint16))
    first, second = planes  # as they lie in the file
    return first << 8 | second if path.suffix == ".png" else second << 8 | first


def test_suffixes() -> None:
    assert {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"} == SUFFIXES
    assert {".png", ".tif", ".tiff"} == DEEP_SUFFIXES


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".PNG"])
def test_8_bits_are_exact(tmp_path: Path, suffix: str) -> None:
    levels = np.arange(256 * 3).reshape(16, 16, 3) % 256
    path = tmp_path / f"image{suffix}"
    save_image(levels / 255, path)
    assert np.array_equal(np.asarray(Image.open(path)), levels)
    save_image((levels / 255).astype(np.float32), path, bit_depth=8)
    assert np.array_equal(np.asarray(load_image(path, key="x").picture), levels)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_lossy_formats_are_close(tmp_path: Path, suffix: str) -> None:
    y, x = np.mgrid[0:64, 0:64] / 64
    pixels = np.stack([x, y, (x + y) / 2], -1)
    save_image(pixels, tmp_path / f"image{suffix}")
    picture = load_image(tmp_path / f"image{suffix}", key="x").picture
    assert np.abs(np.asarray(picture) / 255 - pixels).mean() < 0.01


def test_jpeg_keeps_its_colors_at_full_resolution(tmp_path: Path) -> None:
    save_image(noise(), tmp_path / "image.jpg")
    with Image.open(tmp_path / "image.jpg") as image:
        assert {part[1:3] for part in image.layer} == {(1, 1)}  # 4:4:4


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_exact(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    for dtype in (np.float32, np.float64):
        save_image((ramp() / 65535).astype(dtype), path, bit_depth=16)
        assert np.array_equal(read_16_bit(path), ramp())
    assert np.abs(np.asarray(load_image(path, key="x").picture) - ramp() / 257).max() <= 1
    for shape in ((1, 1), (1, 7), (5, 1)):
        save_image(np.full((*shape, 3), 0.5), path, bit_depth=16)
        assert np.unique(read_16_bit(path)).tolist() == [32768]


def test_16_bit_png_of_many_chunks(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    pixels = noise(512, 512)
    save_image(pixels, path, bit_depth=16)
    assert path.read_bytes().count(b"IDAT") > 1
    assert np.array_equal(read_16_bit(path), np.rint(pixels.astype(np.float32) * 65535))


def test_values_are_clipped_and_rounded(tmp_path: Path) -> None:
    values = np.array([-1e9, -0.1, 0, 0.4 / 255, 0.6 / 255, 0.5, 1, 1.1, 1e9])
    save_image(np.repeat(values[None, :, None], 3, -1), tmp_path / "x.png")
    result = np.asarray(Image.open(tmp_path / "x.png"))[0, :, 0]
    assert result.tolist() == [0, 0, 0, 0, 1, 128, 255, 255, 255]


@pytest.mark.parametrize("bit_depth", [8, 16])
def test_files_are_tagged_as_srgb_and_the_same_every_time(tmp_path: Path, bit_depth: int) -> None:
    for suffix in sorted(SUFFIXES if bit_depth == 8 else DEEP_SUFFIXES):
        path = tmp_path / f"x{suffix}"
        save_image(noise(), path, bit_depth=bit_depth, metadata=METADATA)
        first = path.read_bytes()
        save_image(noise(), path, bit_depth=bit_depth, metadata=METADATA)
        assert path.read_bytes() == first
        with Image.open(path) as image:
            if suffix == ".png":
                assert image.info["srgb"] == 0
            else:
                profile = ImageCms.ImageCmsProfile(BytesIO(image.info["icc_profile"]))
                assert "sRGB" in ImageCms.getProfileDescription(profile)
        assert all("profile" not in warning for warning in load_image(path, key="x").warnings)


@pytest.mark.parametrize("bit_depth", [8, 16])
def test_metadata_comes_back(tmp_path: Path, bit_depth: int) -> None:
    for suffix in sorted(SUFFIXES if bit_depth == 8 else DEEP_SUFFIXES):
        path = tmp_path / f"x{suffix}"
        save_image(noise(), path, bit_depth=bit_depth, metadata=METADATA)
        assert read_metadata(path, key="x") == METADATA
        save_image(noise(), path, bit_depth=bit_depth)
        assert read_metadata(path, key="x") == {}


def test_text_that_no_encoding_can_hold_is_escaped(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg"):
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
    with pytest.raises(ValueError, match=r"unknown suffix; use one of \.jpeg, \.jpg, \.png"):
        save_image(noise(), tmp_path / "x.psd")
    for name, depth in (("x.jpg", 16), ("x.webp", 16), ("x.png", 12)):
        with pytest.raises(ValueError, match=f"{depth} bits cannot be written"):
            save_image(noise(), tmp_path / name, bit_depth=depth)
    for name in ("", "k" * 80, "βeta"):
        with pytest.raises(OutputError, match="cannot be written as"):
            save_image(noise(), path, metadata={name: "value"})
    with pytest.raises(OutputError, match=r"cannot be written as \.jpg: EXIF data is too long"):
        save_image(noise(), tmp_path / "x.jpg", metadata={"config": "x" * 70_000})
    with pytest.raises(OutputError, match=r"cannot be written as \.webp"):
        save_image(np.zeros((1, 16384, 3)), tmp_path / "x.webp")
    assert list(tmp_path.iterdir()) == []


# --- the way to the disk ----------------------------------------------------------------------


def fails(stream: BinaryIO) -> None:
    stream.write(b"half")
    raise KeyboardInterrupt


def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.png"
    save_image(noise(), path)
    good = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fails)
    with pytest.raises(ZeroDivisionError):
        write_atomically(path, lambda stream: stream.write(b"x" * (1 // 0)) and None)
    for function in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(files.os, function, disk_full)
            with pytest.raises(OutputError) as caught:
                save_image(noise(), path)
            line = str(caught.value)
            assert line.startswith(f"{path}: cannot be written: No space left on device (")
            assert line.endswith(" MB free); make room or choose another folder")
    assert path.read_bytes() == good
    assert [file.name for file in tmp_path.iterdir()] == ["x.png"]


def disk_full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_an_error_of_the_disk_behind_another_exception_is_found(tmp_path: Path) -> None:
    def like_torch(stream: BinaryIO) -> None:
        try:
            disk_full()
        except OSError:
            raise RuntimeError("[enforce fail at inline_container.cc]")  # noqa: B904

    with pytest.raises(OutputError, match="No space left on device"):
        write_atomically(tmp_path / "last.ckpt", like_torch)
    assert list(tmp_path.iterdir()) == []


def test_a_really_full_disk(tmp_path: Path) -> None:
    """RLIMIT_FSIZE: files end at 10 kB, as far as the process can tell."""
    path = tmp_path / "x.png"
    save_image(noise(), path)
    good = path.read_bytes()
    code = """
import resource, sys, numpy, pathlib
from nst_exp.images import save_image
from nst_exp.utils.errors import OutputError
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
for name in ("x.png", "new.tif"):
    try:
        save_image(numpy.random.rand(200, 200, 3), pathlib.Path(name))
    except OutputError as error:
        print(error)
"""
    root = str(Path(files.__file__).parents[2])
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.splitlines() == [
        "x.png: cannot be written: File too large",
        "new.tif: cannot be written: File too large",
    ]
    assert path.read_bytes() == good
    assert [file.name for file in tmp_path.iterdir()] == ["x.png"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo.png")
    for name, reason in [
        ("folder.png", "it is a directory"),
        ("file/x.png", "Not a directory"),
        ("none/x.png", f"there is no folder {tmp_path / 'none'}"),
        ("fifo.png", "it is not a regular file"),
    ]:
        with pytest.raises(OutputError) as caught:
            save_image(noise(), tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: cannot be written: {reason}"
    assert stat.S_ISFIFO((tmp_path / "fifo.png").stat().st_mode)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match=r"Permission denied; choose a folder that you may"):
        save_image(noise(), tmp_path / "x.png")
    tmp_path.chmod(0o700)


def test_permissions_links_and_long_names(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text_atomically(tmp_path / "x.json", "{}\nβ")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.json").stat().st_mode) == 0o640
    (tmp_path / "link.json").symlink_to("x.json")
    write_text_atomically(tmp_path / "link.json", "new\r\n")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "x.json").read_bytes() == b"new\r\n"
    write_text_atomically(tmp_path / ("n" * 255), "")
    with pytest.raises(OutputError, match="File name too long"):
        write_text_atomically(tmp_path / ("n" * 256), "")


def test_leftovers_of_killed_writers_can_be_removed(tmp_path: Path) -> None:
    code = (
        "import os, pathlib; from nst_exp.utils.atomic_files import write_atomically;"
        "write_atomically(pathlib.Path('x'), lambda stream: os.kill(os.getpid(), 9))"
    )
    root = str(Path(files.__file__).parents[2])
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        check=False,
    )
    (tmp_path / "keep.tmp").touch()
    assert len(list(tmp_path.iterdir())) == 2
    remove_leftovers(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["keep.tmp"]


def test_a_damaged_result_is_refused_on_reading(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    save_image(noise(), path, metadata=METADATA, bit_depth=16)
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(ConfigError, match="the file is cut off"):
        read_metadata(path, key="init.file")
