"""Every file is either loaded as a person sees it, or refused in one line that helps."""

from __future__ import annotations

import hashlib
import io
import os
import random
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from PIL.PngImagePlugin import putchunk

from nst_exp import images
from nst_exp.images import LoadedImage, chatter, load_image, read_metadata
from nst_exp.utils.errors import ConfigError
from tests.faults.picture_files import bmp, tiff

WHITE, RED = (255, 255, 255), (255, 0, 0)


def load(path: Path | str, **options: object) -> LoadedImage:
    return load_image(path, key="content", **options)  # type: ignore[arg-type]


def array(loaded: LoadedImage) -> np.ndarray:
    assert type(loaded.picture) is Image.Image
    assert loaded.picture.mode == "RGB"
    assert loaded.picture.info == {}
    return np.asarray(loaded.picture)


def refused(path: Path | str, **options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, **options)
    (line,) = caught.value.problems
    assert line.startswith(f"content={path}: ")
    assert "\n" not in line
    assert "; " in line  # what to do
    return line.removeprefix(f"content={path}: ")


def noise(width: int = 24, height: int = 16, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def smooth(width: int, height: int) -> Image.Image:
    """Colors that JPEG keeps to within a few levels, and no two corners alike."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [255 * x / width, 255 * y / height, 255 * (x + y) / (width + height)]
    return Image.fromarray(np.stack(planes, -1).astype(np.uint8))


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def png(path: Path, depth: int, kind: int, rows: list[bytes], width: int, **chunks: bytes) -> Path:
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        header = struct.pack(">IIBBBBB", width, len(rows), depth, kind, 0, 0, 0)
        putchunk(file, b"IHDR", header)
        for name, data in chunks.items():
            putchunk(file, name.encode(), data)
        putchunk(file, b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
        putchunk(file, b"IEND")
    return path


# --- what is loaded ---------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "tga", "qoi", "ico", "dds", "pcx"])
def test_lossless_formats_keep_every_pixel(tmp_path: Path, suffix: str) -> None:
    pixels = noise(16, 16)
    path = saved(tmp_path / f"photo.{suffix}", Image.fromarray(pixels))
    loaded = load(path)
    assert np.array_equal(array(loaded), pixels)
    assert loaded.warnings == []
    assert loaded.path == path
    assert loaded.original_size == (16, 16)
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("jpg", {"quality": 95}),
        ("webp", {"lossless": True}),
        ("avif", {"quality": 95}),
        ("jp2", {}),
        ("gif", {}),
    ],
)
def test_other_formats_keep_the_picture(tmp_path: Path, suffix: str, options: dict) -> None:
    picture = smooth(48, 32)
    loaded = load(saved(tmp_path / f"photo.{suffix}", picture, **options))
    difference = np.abs(array(loaded).astype(int) - np.asarray(picture))
    assert difference.mean() < 4
    assert loaded.warnings == []


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    for name in ("photo.jpg", "photo", "ein Bild 'имя' \"2\".tiff"):
        saved(tmp_path / name, Image.fromarray(noise()), format="PNG")
        assert np.array_equal(array(load(tmp_path / name)), noise())


def test_relative_and_home_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "photo.png", Image.fromarray(noise()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert np.array_equal(array(load("photo.png")), noise())
    assert load("~/photo.png").path == tmp_path / "photo.png"


def test_gray_bilevel_and_palette(tmp_path: Path) -> None:
    gray = noise(channels=1)[..., 0]
    expected = np.repeat(gray[..., None], 3, -1)
    assert np.array_equal(array(load(saved(tmp_path / "l.png", Image.fromarray(gray)))), expected)
    bits = Image.fromarray(gray > 127)
    expected = np.repeat(np.where(gray > 127, 255, 0)[..., None], 3, -1)
    assert np.array_equal(array(load(saved(tmp_path / "1.png", bits))), expected)
    palette = Image.fromarray(noise()).quantize(16)
    expected = np.asarray(palette.convert("RGB"))
    assert np.array_equal(array(load(saved(tmp_path / "p.png", palette))), expected)


def test_transparency_is_composited_over_the_background(tmp_path: Path) -> None:
    rgba = Image.new("RGBA", (3, 1), (10, 20, 30, 255))
    rgba.putpixel((1, 0), (10, 20, 30, 0))
    rgba.putpixel((2, 0), (0, 0, 0, 128))
    path = saved(tmp_path / "a.png", rgba)
    loaded = load(path)
    assert array(loaded)[0].tolist() == [[10, 20, 30], [255, 255, 255], [127, 127, 127]]
    assert loaded.warnings == [
        f"content={path}: its transparent parts are filled with the background color"
    ]
    assert array(load(path, background="#ff0000"))[0, 1].tolist() == [255, 0, 0]
    webp = saved(tmp_path / "a.webp", rgba, lossless=True)
    assert array(load(webp))[0].tolist() == [[10, 20, 30], [255, 255, 255], [127, 127, 127]]


def test_opaque_alpha_is_no_reason_to_warn(tmp_path: Path) -> None:
    pixels = np.dstack([noise(), np.full((16, 24), 255, np.uint8)])
    loaded = load(saved(tmp_path / "a.png", Image.fromarray(pixels)))
    assert np.array_equal(array(loaded), noise())
    assert loaded.warnings == []


def test_every_other_kind_of_transparency(tmp_path: Path) -> None:
    la = Image.new("LA", (2, 1), (40, 255))
    la.putpixel((1, 0), (40, 0))
    palette = Image.new("P", (2, 1))
    palette.putpalette([40, 40, 40, 9, 9, 9])
    palette.putpixel((1, 0), 1)
    files = [
        saved(tmp_path / "la.png", la),
        saved(tmp_path / "p.png", palette, transparency=1),
        saved(tmp_path / "pb.png", palette, transparency=b"\xff\x00"),
        saved(tmp_path / "p.gif", palette, transparency=1),
        png(tmp_path / "rgb.png", 8, 2, [bytes([40] * 3 + [7] * 3)], 2, tRNS=b"\0\7" * 3),
        png(tmp_path / "l8.png", 8, 0, [bytes([40, 7])], 2, tRNS=b"\0\7"),
    ]
    for path in files:
        loaded = load(path)
        assert array(loaded)[0].tolist() == [[40] * 3, [255] * 3], path
        assert len(loaded.warnings) == 1, path


def test_transparent_value_of_narrow_and_wide_samples(tmp_path: Path) -> None:
    for depth, rows, key in [(1, b"\x40", 1), (2, b"\x70", 3), (4, b"\x5f", 15)]:
        path = png(tmp_path / f"{depth}.png", depth, 0, [rows], 2, tRNS=struct.pack(">H", key))
        gray = {1: 0, 2: 85, 4: 85}[depth]
        assert array(load(path, background="red"))[0].tolist() == [[gray] * 3, [255, 0, 0]], depth
    wide = struct.pack(">6H", 0x1234, 0, 0, 0x3400, 0, 0)
    path = png(tmp_path / "16.png", 16, 2, [wide], 2, tRNS=struct.pack(">3H", 0x1234, 0, 0))
    assert array(load(path))[0].tolist() == [[255] * 3, [0x34, 0, 0]]
    wide = struct.pack(">2H", 0x1234, 0x1235)
    path = png(tmp_path / "16l.png", 16, 0, [wide], 2, tRNS=b"\x12\x34")
    assert array(load(path))[0].tolist() == [[255] * 3, [18] * 3]


def ramp16() -> np.ndarray:
    return np.arange(65536, dtype=np.uint16).reshape(256, 256)


def test_16_bit_gray_is_rounded_to_8(tmp_path: Path) -> None:
    expected = np.repeat(np.rint(ramp16() / 257.0).astype(np.uint8)[..., None], 3, -1)
    files = [
        saved(tmp_path / "16.png", Image.fromarray(ramp16())),
        saved(tmp_path / "16.tif", Image.fromarray(ramp16())),
        saved(tmp_path / "16b.tif", Image.frombytes("I;16B", (256, 256), ramp16().byteswap())),
        saved(tmp_path / "32.tif", Image.fromarray(ramp16().astype(np.int32))),
    ]
    pgm = tmp_path / "16.pgm"
    pgm.write_bytes(b"P5 256 256 65535\n" + ramp16().astype(">u2").tobytes())
    for path in [*files, pgm]:
        loaded = load(path)
        assert np.array_equal(array(loaded), expected), path
        assert loaded.warnings == [f"content={path}: its 16-bit samples are read as 8-bit"]


def test_deep_tiffs_that_pillow_takes_for_what_they_are_not(tmp_path: Path) -> None:
    """Each was silently wrong: inverted, nearly black, noise."""
    levels = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    expected = np.repeat(np.rint(levels / 257.0).astype(np.uint8)[..., None], 3, -1)
    path = tmp_path / "x.tif"
    for packed in (False, True):
        path.write_bytes(tiff(65535 - levels, photometric=0, packed=packed))
        assert np.array_equal(array(load(path)), expected)
    twelve = (levels >> 4).ravel()
    bits = (twelve[:, None] >> np.arange(11, -1, -1) & 1).astype(np.uint8)
    tags = {256: [64], 257: [64], 258: [12], 278: [64]}
    path.write_bytes(tiff(np.packbits(bits.ravel())[None], photometric=1, tags=tags))
    loaded = load(path)
    assert np.abs(array(loaded)[..., 0].ravel() - twelve * (255 / 4095)).max() <= 0.5
    assert loaded.warnings == [f"content={path}: its 12-bit samples are read as 8-bit"]
    path.write_bytes(tiff(np.dstack([levels] * 3), planar=True))
    assert refused(path).startswith("its 16-bit channels lie in separate planes")
    path.write_bytes(tiff(np.dstack([levels] * 3), planar=True, packed=True))
    assert np.abs(array(load(path)) - levels[..., None] / 257).max() <= 1
    path.write_bytes(tiff((levels >> 1).astype(np.int16), photometric=1))
    assert refused(path).startswith("its samples are signed numbers")
    path.write_bytes(tiff(np.zeros((4, 4, 3))))
    assert refused(path).startswith("it is a TIFF file that is damaged, or stored in a way that")


def test_a_tiff_with_a_part_missing_is_not_filled_with_black(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    for planar in (False, True):
        path.write_bytes(tiff(noise(), tags={257: [100]}, planar=planar))
        assert refused(path) == (
            "the file is damaged: a part of it is missing; copy or export it again"
        )


def disk_full() -> None:
    raise OSError(28, "No space left on device")


def test_libtiff_is_heard_but_does_not_print(
    tmp_path: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "x.tif", Image.fromarray(noise()), compression="tiff_adobe_deflate")
    whole = path.read_bytes()
    path.write_bytes(whole[:300] + b"\0" + whole[301:])
    assert "(Pillow: libtiff: ZIPDecode: Decoding error" in refused(path)
    monkeypatch.setattr(chatter, "TemporaryFile", disk_full)
    assert "(Pillow: decoder error -2)" in refused(path)  # no room to listen
    assert capfd.readouterr() == ("", "")
    print("still there", file=sys.stderr)
    os.write(2, b"and here\n")
    assert capfd.readouterr().err == "still there\nand here\n"


def test_complaints_about_a_tiff_that_can_be_read_are_passed_on(tmp_path: Path) -> None:
    bits = noise(64, 64, 1)[..., 0] > 127
    path = saved(tmp_path / "fax.tif", Image.fromarray(bits), compression="group4")
    assert load(path).warnings == []
    data = bytearray(path.read_bytes())
    data[-200:-190] = bytes(10)
    path.write_bytes(data)
    (warning,) = load(path).warnings
    assert warning.startswith(f"content={path}: its decoder complains (libtiff: Fax4Decode: ")
    assert warning.endswith("), so it may be damaged")


def test_565_is_not_deep_and_a_strange_gamma_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.bmp"
    path.write_bytes(bmp([b"\x00\xf8"], 1, 16, masks=(0xF800, 0x7E0, 0x1F)))
    loaded = load(path)
    assert array(loaded).tolist() == [[[255, 0, 0]]]
    assert loaded.warnings == []
    for gamma, warned in ((100_000, True), (45_455, False)):
        path = png(tmp_path / "x.png", 8, 0, [b"\x80"], 1, gAMA=struct.pack(">I", gamma))
        expected = [f"content={path}: its gamma, 1/1, is ignored"] if warned else []
        assert load(path).warnings == expected


def test_16_bit_color_is_read_as_8(tmp_path: Path) -> None:
    samples = np.stack([ramp16(), ramp16()[::-1], ramp16().T], -1)
    rows = [row.astype(">u2").tobytes() for row in samples]
    loaded = load(png(tmp_path / "rgb16.png", 16, 2, rows, 256))
    assert np.abs(array(loaded) - samples / 257.0).max() <= 1
    assert len(loaded.warnings) == 1
    opaque = np.concatenate([samples, np.full((256, 256, 1), 65535, np.uint16)], -1)
    rows = [row.astype(">u2").tobytes() for row in opaque]
    loaded = load(png(tmp_path / "rgba16.png", 16, 6, rows, 256))
    assert np.abs(array(loaded) - samples / 257.0).max() <= 1


def oriented(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels as a camera stores them, so that ``orientation`` turns them upright."""
    across, down = upright[:, ::-1], upright[::-1]
    return {
        1: upright,
        2: across,
        3: down[:, ::-1],
        4: down,
        5: upright.transpose(1, 0, 2),
        6: across.transpose(1, 0, 2),
        7: down[:, ::-1].transpose(1, 0, 2),
        8: down.transpose(1, 0, 2),
    }[orientation]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    upright = np.asarray(smooth(64, 32))
    stored = Image.fromarray(np.ascontiguousarray(oriented(upright, orientation)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"webp": {"lossless": True}, "jpg": {"quality": 95}}.get(suffix, {})
    loaded = load(saved(tmp_path / f"x.{suffix}", stored, exif=exif, **options))
    assert loaded.original_size == (64, 32)
    assert np.abs(array(loaded).astype(int) - upright).mean() < 4
    assert loaded.warnings == []


def test_orientation_codes_are_the_exif_ones(tmp_path: Path) -> None:
    """6: the camera's top row is the right side; checked with one pixel, not with our own maths."""
    stored = Image.new("RGB", (3, 2), "black")
    stored.putpixel((0, 0), RED)
    corner = {
        1: (0, 0),
        2: (2, 0),
        3: (2, 1),
        4: (0, 1),
        5: (0, 0),
        6: (1, 0),
        7: (1, 2),
        8: (0, 2),
    }
    for orientation, place in corner.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        loaded = load(saved(tmp_path / "x.png", stored, exif=exif))
        assert loaded.picture.getpixel(place) == RED, orientation


def test_damaged_exif_is_no_reason_to_refuse(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    for number, block in enumerate(
        [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0"]
    ):
        path = saved(tmp_path / f"{number}.jpg", smooth(32, 16), exif=block)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert load(path).original_size == (32, 16)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif", "avif"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "lime", "blue")]
    path = tmp_path / f"moving.{suffix}"
    options = {"webp": {"lossless": True}}.get(suffix, {})
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    loaded = load(path)
    assert np.abs(array(loaded).astype(int) - RED).max() <= 3
    assert loaded.warnings == [f"content={path}: it holds 3 frames or pages, and the first is used"]


def test_a_photo_with_a_preview_is_no_animation(tmp_path: Path) -> None:
    pictures = [smooth(32, 16), smooth(16, 8)]
    path = tmp_path / "phone.jpg"
    pictures[0].save(path, format="MPO", save_all=True, append_images=pictures[1:])
    assert load(path).warnings == []


def test_a_png_without_its_end_marker_is_whole(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", Image.fromarray(noise()))
    path.write_bytes(path.read_bytes()[:-12])
    assert np.array_equal(array(load(path)), noise())


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_hint_shrinks_large_jpegs_but_never_too_far(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "large.jpg", smooth(1601, 1001), exif=exif, quality=95)
    full = load(path)
    for hint in (1, 50, 99, 100, 101, 200, 399, 401, 800, 801, 5000):
        loaded = load(path, hint=hint)
        assert loaded.original_size == full.original_size
        assert max(loaded.picture.size) >= min(2 * hint, 1601)
        assert loaded.picture.width / loaded.picture.height == pytest.approx(
            full.picture.width / full.picture.height, rel=0.02
        )
        small = loaded.picture.resize((40, 40), Image.Resampling.LANCZOS)
        other = full.picture.resize((40, 40), Image.Resampling.LANCZOS)
        assert np.abs(np.asarray(small, int) - np.asarray(other, int)).max() <= 4
    assert max(load(path, hint=100).picture.size) == 201  # an eighth, rounded up
    assert load(path, hint=5000).picture.size == full.picture.size


# --- what is refused --------------------------------------------------------------------------


def test_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "photo.jpg", smooth(8, 8))
    monkeypatch.chdir(tmp_path)
    assert refused("phto.jpg") == (
        f"no such file (looked at {tmp_path / 'phto.jpg'}); did you mean 'photo.jpg'?"
    )
    assert refused("zzz") == f"no such file (looked at {tmp_path / 'zzz'}); correct the path"
    assert refused("no/photo.jpg") == f"there is no folder {tmp_path / 'no'}; correct the path"


def test_what_is_no_file(tmp_path: Path) -> None:
    assert refused(tmp_path) == "it is a directory; name one picture in it"
    os.mkfifo(tmp_path / "fifo")
    assert refused(tmp_path / "fifo") == "it is not a regular file; name a picture file"
    (tmp_path / "dangling").symlink_to("nowhere")
    assert refused(tmp_path / "dangling") == (
        "it is a link to nowhere, which does not exist; correct it"
    )
    (tmp_path / "loop").symlink_to("loop")
    assert "leads back to itself" in refused(tmp_path / "loop")
    (tmp_path / "empty.jpg").touch()
    assert refused(tmp_path / "empty.jpg") == (
        "the file is empty (0 bytes); copy or export it again"
    )
    assert "a part of the path is a file" in refused(tmp_path / "empty.jpg" / "x.jpg")
    assert "File name too long" in refused(tmp_path / ("x" * 256))


def test_odd_paths_stay_on_one_line(tmp_path: Path) -> None:
    for name in ("a\nb.jpg", "nul\0.jpg", os.fsdecode(b"latin-\xe9.jpg")):
        with pytest.raises(ConfigError) as caught:
            load(tmp_path / name)
        assert str(caught.value).isprintable()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", smooth(8, 8))
    path.chmod(0)
    assert "permission denied" in refused(path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "it is a Git LFS pointer"),
        (b"\n<!DOCTYPE html><title>404</title>", "it is a web page (HTML)"),
        (b"<html><body>Not Found", "it is a web page (HTML)"),
        (b"<?xml version='1.0'?><svg width='1'></svg>", "it is an SVG drawing"),
        ("Grüße, dies ist kein Bild\n".encode() * 99, "it is a text file"),
        (b"%PDF-1.7\n", "it is a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is a PostScript file"),
        (b"\0\0\0\x18ftypisom\0\0\2\0isommp42" + bytes(99), "it is a video"),
        (b"RIFF\x99\0\0\0AVI LIST", "it is a video"),
        (b"PK\x03\x04" + bytes(99), "it is a ZIP archive"),
        (b"8BPS" + bytes(99), "it is a Photoshop file"),
        (bytes(4096), "it holds nothing but zero bytes"),
        (b"\xff\xd8", "it is not a picture in a format that can be read"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "the file is cut off (Pillow: "),
        (b"\xff\xd8\xff\xe0" + bytes(20), "it is a damaged JPEG file"),
        (bytes(range(128, 256)) * 9, "it is not a picture in a format that can be read"),
    ],
)
def test_what_is_no_picture(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    assert refused(path).startswith(reason)


def test_heic_without_its_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for brands in (b"heic\0\0\0\0mif1heic", b"mif1\0\0\0\0mif1heic"):
        path = tmp_path / "phone.heic"
        path.write_bytes(b"\0\0\0\x18ftyp" + brands + bytes(99))
        assert refused(path) == (
            "reading HEIC pictures needs pillow-heif; "
            "pip install 'nst-exp[heif]', or convert it to PNG or JPEG"
        )


def test_heic_with_its_decoder(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    path = tmp_path / "phone.heic"
    pillow_heif.from_pillow(smooth(64, 32)).save(path, quality=90)
    loaded = load(path)
    assert np.abs(array(loaded).astype(int) - np.asarray(smooth(64, 32))).mean() < 4
    path.write_bytes(path.read_bytes()[:-300])
    refused(path)


def test_cut_and_damaged_files(tmp_path: Path) -> None:
    jpeg = saved(tmp_path / "photo.jpg", Image.fromarray(noise(64, 64)), quality=95).read_bytes()
    for end in (len(jpeg) // 2, len(jpeg) - 20):
        (tmp_path / "cut.jpg").write_bytes(jpeg[:end])
        line = refused(tmp_path / "cut.jpg")
        assert line.startswith("the file is cut off (Pillow: image file is truncated (")
        assert line.endswith("; copy or export it again")
    (tmp_path / "cut.jpg").write_bytes(jpeg[:100])
    assert refused(tmp_path / "cut.jpg").startswith("the file is cut off")
    data = bytearray(saved(tmp_path / "x.png", Image.fromarray(noise(64, 64))).read_bytes())
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    assert refused(tmp_path / "cut.png").startswith("the file is cut off")
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "bad.png").write_bytes(data)
    assert refused(tmp_path / "bad.png").startswith("the file is damaged (Pillow: ")


def test_floats_and_wide_integers_have_no_white(tmp_path: Path) -> None:
    path = saved(tmp_path / "f.tif", Image.new("F", (4, 4), 0.5))
    assert refused(path).startswith("its samples are floats")
    path = saved(tmp_path / "i.tif", Image.new("I", (4, 4), 70000))
    assert refused(path).startswith("its integer samples go beyond 16 bits")
    path = saved(tmp_path / "n.tif", Image.new("I", (4, 4), -1))
    assert refused(path).startswith("its integer samples go beyond 16 bits")


def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS
    path = png(tmp_path / "bomb.png", 8, 2, [b""], 20000)
    data = path.read_bytes()
    header = struct.pack(">IIBBBBB", 20000, 10000, 8, 2, 0, 0, 0)
    bomb = data[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + data[33:]
    path.write_bytes(bomb)
    assert refused(path) == (
        "it has 200.0 megapixels, more than max_megapixels=178; "
        "raise max_megapixels or use a smaller copy"
    )
    assert refused(path, max_megapixels=99.5).startswith("it has 200.0 megapixels, more than")
    assert "cut off" in refused(path, max_megapixels=1000)  # beyond what Pillow allows by itself
    small = saved(tmp_path / "small.png", Image.new("RGB", (100, 100)))
    assert load(small, max_megapixels=0.01).original_size == (100, 100)
    assert "max_megapixels=0.009" in refused(small, max_megapixels=0.009)
    icon = saved(tmp_path / "small.ico", Image.new("RGB", (100, 100)))
    assert "max_megapixels=0.004" in refused(icon, max_megapixels=0.004)  # Pillow makes it 64 x 64
    assert before == Image.MAX_IMAGE_PIXELS


def test_pillows_own_limit_plays_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "small.png", Image.new("RGB", (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(path).original_size == (100, 100)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_zero_size_and_text_bombs(tmp_path: Path) -> None:
    assert "damaged PNG" in refused(png(tmp_path / "zero.png", 8, 2, [b""], 0))
    bomb = b"k\0\0" + zlib.compress(bytes(20_000_000))
    path = png(tmp_path / "bomb.png", 8, 0, [b"\0"], 1, zTXt=bomb)
    assert "Decompressed data too large" in refused(path)
    with pytest.raises(ConfigError, match=r"^init\.file=.*Decompressed data too large"):
        read_metadata(path, key="init.file")


def test_background_must_be_an_opaque_color(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", smooth(8, 8))
    for background, advice in [
        ("whte", "did you mean 'white'?"),
        ("#ffffff80", "use a name such as white, or #rrggbb"),
        ("", "use a name such as white, or #rrggbb"),
    ]:
        with pytest.raises(ConfigError) as caught:
            load(path, background=background)
        assert str(caught.value) == f"background={background}: it is not an opaque color; {advice}"
    load(path, background="#ffffffff")


# --- metadata, torch, fuzz --------------------------------------------------------------------


def test_text_behind_the_pixels_is_found_and_strangers_have_none(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("before", "1")
    data = bytearray(saved(tmp_path / "x.png", smooth(8, 8), pnginfo=info).read_bytes())
    late = io.BytesIO()
    putchunk(late, b"tEXt", b"after\x002")
    data[-12:-12] = late.getvalue()
    (tmp_path / "x.png").write_bytes(data)
    assert read_metadata(tmp_path / "x.png", key="x") == {"before": "1", "after": "2"}
    exif = Image.Exif()
    for description in ("a sunny day", "[1]", "{"):
        exif[270] = description
        path = saved(tmp_path / "x.jpg", smooth(8, 8), exif=exif)
        assert read_metadata(path, key="x") == {}
    with pytest.raises(ConfigError, match=r"^x=.*no such file"):
        read_metadata(tmp_path / "none.png", key="x")


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, nst_exp.images; sys.exit('torch' in sys.modules)"
    root = Path(images.__file__).parent.parent.parent
    result = subprocess.run([sys.executable, "-c", code], cwd=root, check=False)
    assert result.returncode == 0


def seeds() -> list[bytes]:
    picture = Image.fromarray(noise(12, 10))
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: list[tuple[str, Image.Image, dict]] = [
        ("JPEG", picture, {"exif": exif}),
        ("PNG", picture.quantize(8), {"transparency": 1, "exif": exif}),
        ("PNG", Image.fromarray(ramp16()[:8, :8]), {}),
        ("WEBP", picture.convert("RGBA"), {"lossless": True}),
        ("TIFF", picture.convert("CMYK"), {"compression": "tiff_lzw"}),
        ("GIF", picture, {"save_all": True, "append_images": [picture.rotate(90)]}),
        ("AVIF", picture, {}),
        ("BMP", picture, {}),
    ]
    files = []
    for kind, image, options in kinds:
        out = io.BytesIO()
        image.save(out, kind, **options)
        files.append(out.getvalue())
    return files


def mutant(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 8])):
        at = chance.randrange(max(1, len(changed)))
        match chance.randrange(5):
            case 0:
                changed[at : at + 1] = [255 ^ byte for byte in changed[at : at + 1]]
            case 1:
                changed[at : at + 1] = [chance.choice([0, 1, 127, 128, 255])]
            case 2:
                changed[at : at + chance.randrange(9)] = chance.randbytes(chance.randrange(9))
            case 3:
                del changed[max(at, 1) :]
            case 4:  # the header is where the decoders trust most
                changed[at % 64 : at % 64 + 1] = [chance.randrange(256)]
    return bytes(changed)


def test_damaged_files_end_in_a_picture_or_in_config_error(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    chance = random.Random(20)
    path = tmp_path / "mutant"
    loaded = 0
    refusals = []
    printed = ""
    for data in seeds():
        for _ in range(250):
            path.write_bytes(mutant(data, chance))
            try:
                picture = load_image(path, key="content", max_megapixels=0.5).picture
                assert picture.mode == "RGB"
                loaded += 1
            except ConfigError as error:
                refusals.append(str(error))
        printed += "".join(capfd.readouterr())
    assert loaded > 100
    assert len(refusals) > 100
    assert all(line.startswith(f"content={path}: ") and line.isprintable() for line in refusals)
    assert printed == ""
