"""A file is loaded as a person sees it, or refused in one line that helps."""

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from image_files import GRAY, RGB, RGBA, chunk, noise, png, smooth, tiff
from loading import array, load, notes, refused, saved, written
from PIL import Image

RED = (255, 0, 0)


LOSSLESS = ["png", "bmp", "tif", "ppm", "tga", "qoi", "ico", "pcx", "webp"]


@pytest.mark.parametrize("suffix", [*LOSSLESS, "jpg", "avif", "jp2", "gif", "dds"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    image = Image.fromarray(noise(16, 16)) if suffix in LOSSLESS else smooth(16, 16)
    path = saved(tmp_path / f"photo.{suffix}", image, lossless=True, quality=95)
    loaded = load(path)
    difference = np.abs(array(loaded) - np.asarray(image, float)).mean()
    assert difference == 0 if suffix in LOSSLESS else difference < 4
    assert loaded.warnings == []
    assert loaded.path == path
    assert loaded.original_size == (16, 16)
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_tiffs_in_every_order(tmp_path: Path, order: str, planar: bool, packed: bool) -> None:
    path = written(tmp_path / "x", tiff(noise(), "rgb", order, planar, packed))
    assert np.array_equal(array(load(path)), noise())


def test_the_content_decides_not_the_suffix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    name = "ein Bild 'имя' \"2\".jpg"
    saved(tmp_path / name, Image.fromarray(noise()), format="PNG")
    loaded = load(f"~/{name}")
    assert np.array_equal(array(loaded), noise())
    assert loaded.path == tmp_path / name


def test_gray_bilevel_and_palette(tmp_path: Path) -> None:
    levels = noise(channels=1)
    for image, expected in [
        (Image.fromarray(levels), np.dstack([levels] * 3)),
        (Image.fromarray(levels > 127), np.dstack([np.where(levels > 127, 255, 0)] * 3)),
        (palette := Image.fromarray(noise()).quantize(16), np.asarray(palette.convert("RGB"))),
    ]:
        assert np.array_equal(array(load(saved(tmp_path / "x.png", image))), expected)


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_transparency_is_composited_over_the_background(tmp_path: Path, suffix: str) -> None:
    pixels = noise(channels=4)
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(pixels), lossless=True, exact=True)
    assert notes(load(path)) == ["its transparent parts are filled with the background color"]
    opacity = pixels[..., 3:] / 255
    for background, color in (("white", (255, 255, 255)), ("#ff8000", (255, 128, 0))):
        mixed = pixels[..., :3] * opacity + np.array(color) * (1 - opacity)
        assert np.abs(array(load(path, background=background)) - mixed).max() <= 1


def test_every_other_kind_of_transparency(tmp_path: Path) -> None:
    la = Image.new("LA", (2, 1), (40, 255))
    la.putpixel((1, 0), (40, 0))
    palette = Image.new("P", (2, 1))
    palette.putpalette([40, 40, 40, 9, 9, 9])
    palette.putpixel((1, 0), 1)
    for image, suffix, clear in [
        (la, "png", None),
        (palette, "png", 1),
        (palette, "png", b"\xff\x00"),
        (palette, "gif", 1),
    ]:
        loaded = load(saved(tmp_path / f"x.{suffix}", image, transparency=clear))
        assert array(loaded).tolist() == [[[40] * 3, [255] * 3]]
        assert len(notes(loaded)) == 1
    opaque = np.dstack([noise(), np.full((16, 24), 255, np.uint8)])
    assert load(saved(tmp_path / "opaque.png", Image.fromarray(opaque))).warnings == []


@pytest.mark.parametrize(
    ("depth", "kind", "opaque", "clear", "level"),
    [
        (1, GRAY, 0, 1, 0),
        (2, GRAY, 1, 3, 85),
        (4, GRAY, 5, 15, 85),
        (8, GRAY, 40, 7, 40),
        (8, RGB, 40, 7, 40),
        (16, GRAY, 0x1235, 0x1234, 0x12),
        (16, RGB, 0x3400, 0x1234, 0x34),
    ],
)
def test_transparent_value_of_a_png(
    tmp_path: Path, depth: int, kind: int, opaque: int, clear: int, level: int
) -> None:
    channels = 3 if kind == RGB else 1
    key = chunk(b"tRNS", struct.pack(">H", clear) * channels)
    samples = np.array([[[opaque] * channels, [clear] * channels]])
    path = written(tmp_path / "x.png", png(samples, depth, kind, key))
    assert array(load(path, background="red")).tolist() == [[[level] * 3, list(RED)]]


RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)


def test_16_bit_gray_is_rounded_to_8(tmp_path: Path) -> None:
    for path in [
        saved(tmp_path / "16.png", Image.fromarray(RAMP)),
        saved(tmp_path / "16.tif", Image.fromarray(RAMP)),
        saved(tmp_path / "16b.tif", Image.frombytes("I;16B", (256, 256), RAMP.byteswap())),
        saved(tmp_path / "32.tif", Image.fromarray(RAMP.astype(np.int32))),
        written(tmp_path / "w.tif", tiff(65535 - RAMP, "miniswhite")),  # white is 0
        written(tmp_path / "z.tif", tiff(65535 - RAMP, "miniswhite", packed=True)),
        written(tmp_path / "x.pgm", b"P5 256 256 65535\n" + RAMP.astype(">u2").tobytes()),
    ]:
        loaded = load(path)
        assert np.array_equal(array(loaded), np.dstack([np.rint(RAMP / 257.0)] * 3)), path
        assert notes(loaded) == ["its 16-bit samples are read as 8-bit"]


def test_16_bit_color_is_read_as_8(tmp_path: Path) -> None:
    samples = np.stack([RAMP, RAMP[::-1], RAMP.T], -1)
    opaque = np.concatenate([samples, np.full((256, 256, 1), 65535, np.uint16)], -1)
    for data in (
        png(samples, 16, RGB),
        png(opaque, 16, RGBA),
        tiff(samples, planar=True, packed=True),
    ):
        loaded = load(written(tmp_path / "x", data))
        assert np.abs(array(loaded) - samples / 257.0).max() <= 1
        assert len(loaded.warnings) == 1


def test_tiffs_that_pillow_would_misread(tmp_path: Path) -> None:
    """Each was silently wrong: nearly black, noise, inverted, partly black."""
    path = tmp_path / "x.tif"
    twelve = np.arange(0, 4096, dtype=np.uint16)
    bits = (twelve[:, None] >> np.arange(11, -1, -1) & 1).astype(np.uint8)
    tags = {256: 64, 257: 64, 258: 12, 278: 64}
    path.write_bytes(tiff(np.packbits(bits.ravel())[None], "minisblack", tags=tags))
    loaded = load(path)
    assert np.abs(array(loaded)[..., 0].ravel() - twelve * (255 / 4095)).max() <= 0.5
    assert notes(loaded) == ["its 12-bit samples are read as 8-bit"]
    for data, reason in [
        (tiff(np.dstack([RAMP] * 3), planar=True), "its 16-bit channels are in separate planes"),
        (tiff(RAMP.astype(np.int16), "minisblack"), "its samples are signed numbers"),
        (tiff(noise(), tags={257: 20}), "the file is damaged or cut off"),
        (tiff(noise(), tags={257: 20}, planar=True), "the file is damaged or cut off"),
    ]:
        assert refused(written(path, data)).startswith(reason)
    for mode, value in (("F", 0), ("I", 70000), ("I", -1)):
        path = saved(path, Image.new(mode, (4, 4), value))
        assert refused(path).startswith("its samples are floats or beyond 16 bits")


def test_an_unusual_gamma_is_a_warning(tmp_path: Path) -> None:
    for gamma, expected in ((100_000, ["its gamma, 1/1, is ignored"]), (45_455, [])):
        data = png(np.array([[128]]), 8, GRAY, chunk(b"gAMA", struct.pack(">I", gamma)))
        assert notes(load(written(tmp_path / "x.png", data))) == expected


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif"])
def test_every_orientation_comes_upright(tmp_path: Path, suffix: str) -> None:
    """EXIF defines the corner of the first stored pixel, and whether rows are stored as columns."""
    stored = Image.new("RGB", (64, 32), "black")
    stored.paste("red", (0, 0, 16, 16))
    corners = [(0, 0), (63, 0), (63, 31), (0, 31), (0, 0), (31, 0), (31, 63), (0, 63)]
    for orientation, corner in enumerate(corners, 1):
        exif = Image.Exif()
        exif[0x0112] = orientation
        loaded = load(saved(tmp_path / f"x.{suffix}", stored, exif=exif))
        size = (64, 32) if orientation < 5 else (32, 64)
        assert loaded.image.size == loaded.original_size == size
        assert np.abs(array(loaded)[corner[::-1]].astype(int) - RED).max() < 16
        assert loaded.warnings == []


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_damaged_exif_is_no_reason_to_refuse(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"x.{suffix}", smooth(32, 16), exif=b"Exif\0\0garbage")
    assert notes(load(path)) == ["its EXIF data is damaged and ignored"]


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif", "avif"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "lime", "blue")]
    path = tmp_path / f"x.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    loaded = load(path)
    assert np.abs(array(loaded).astype(int) - RED).max() <= 3
    assert notes(loaded) == ["it holds 3 frames or pages, and the first is used"]


def test_a_photo_with_a_preview_is_not_an_animation(tmp_path: Path) -> None:
    path = tmp_path / "phone.jpg"
    smooth(32, 16).save(path, format="MPO", save_all=True, append_images=[smooth(16, 8)])
    assert load(path).warnings == []


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_hint_shrinks_large_jpegs_but_never_too_far(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "large.jpg", smooth(1601, 1001), exif=exif, quality=95)
    full = load(path)
    for hint in (1, 100, 101, 399, 401, 801, 5000):
        loaded = load(path, hint=hint)
        assert loaded.original_size == full.original_size
        assert max(loaded.image.size) >= min(2 * hint, 1601)
        small, other = (np.asarray(x.image.resize((40, 40)), int) for x in (loaded, full))
        assert np.abs(small - other).max() <= 4
    assert max(load(path, hint=100).image.size) == 201  # an eighth, rounded up
    assert load(path, hint=5000).image.size == full.image.size


def test_heic_with_its_decoder(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    path = tmp_path / "phone.heic"
    pillow_heif.from_pillow(smooth(64, 32)).save(path, quality=90)
    assert np.abs(array(load(path)) - np.asarray(smooth(64, 32), float)).mean() < 4
    refused(written(path, path.read_bytes()[:-300]))
