"""Picture files that must be loaded, with the pixels that a person would see.

The expected pixels come from the array that a file was made of, never from a decoder.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults import picture_files as files
from tests.faults import pictures_colors
from tests.faults.labeled import CLEAR, DEEP, LOSSY, Labeled, Maker
from tests.faults.picture_files import (
    GRAY,
    GRAY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    Array,
    chunk,
    encoded,
    gray_as_rgb,
    indexed,
    noise,
    png,
    smooth,
    tiff,
)


def right(folder: Path) -> Iterator[Labeled]:
    """All of them, written into ``folder``."""
    for group in (
        _formats,
        _shapes,
        _palettes_and_gray,
        _deep,
        pictures_colors.transparent,
        pictures_colors.moving,
        pictures_colors.turned,
        pictures_colors.managed,
        pictures_colors.separated,
        _names,
        _whole_after_all,
        _options,
    ):
        place = folder / group.__name__.strip("_")
        place.mkdir()
        yield from group(Maker(place))


def _formats(put: Maker) -> Iterator[Labeled]:
    rgb, soft = noise(), smooth()
    kinds: list[tuple[str, str, dict[str, Any]]] = [
        ("png", "PNG", {}),
        ("bmp", "BMP", {}),
        ("dib", "DIB", {}),
        ("tif", "TIFF", {}),
        ("lzw.tif", "TIFF", {"compression": "tiff_lzw"}),
        ("deflate.tif", "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("packbits.tif", "TIFF", {"compression": "packbits"}),
        ("ppm", "PPM", {}),
        ("tga", "TGA", {}),
        ("rle.tga", "TGA", {"compression": "tga_rle"}),
        ("qoi", "QOI", {}),
        ("pcx", "PCX", {}),
        ("dds", "DDS", {}),
        ("jp2", "JPEG2000", {}),  # reversible is the default
        ("webp", "WEBP", {"lossless": True}),
    ]
    for suffix, kind, options in kinds:
        yield put(f"x.{suffix}", encoded(rgb, kind, **options), rgb)
    yield put("x.ico", encoded(noise(16, 16), "ICO"), noise(16, 16))
    best: dict[str, Any] = {"quality": 100, "subsampling": 0}
    for name, options in [
        ("baseline", best),
        ("progressive", best | {"progressive": True}),
        ("optimized", best | {"optimize": True}),
        ("restarts", best | {"restart_marker_rows": 1}),
        ("stored as RGB", best | {"keep_rgb": True}),
    ]:
        yield put(f"{name}.jpg", encoded(soft, "JPEG", **options), soft, LOSSY)
    level = np.full((32, 32, 3), (200, 100, 50))  # one color needs no fine chroma
    yield put("4-2-0.jpg", encoded(level.astype(np.uint8), "JPEG", quality=95), level, LOSSY)
    gray = smooth()[..., 0]
    yield put("gray.jpg", encoded(gray, "JPEG", quality=100), gray_as_rgb(gray), LOSSY)
    yield put("x.avif", encoded(soft, "AVIF", **best | {"subsampling": "4:4:4"}), soft, LOSSY)
    yield put("interlaced.png", png(rgb, 8, RGB, interlaced=True), rgb)
    yield put("interlaced gray.png", png(rgb[..., 0], 8, GRAY, interlaced=True), gray_rgb(rgb))
    yield put("big-endian.tif", tiff(rgb, order=">"), rgb)
    yield put("planes.tif", tiff(rgb, planar=True), rgb)
    yield put("planes deflate.tif", tiff(rgb, planar=True, packed=True), rgb)
    text = "P3 24 16 255\n# words\n" + " ".join(map(str, rgb.ravel())) + "\n"
    yield put("text.ppm", text.encode(), rgb)
    rows = [row[:, ::-1].tobytes() for row in rgb]
    yield put("top-down.bmp", files.bmp(rows, 24, 24, upside_down=False), rgb)
    red, green, blue = (noise(channels=1, seed=seed).astype(np.uint16) >> 3 for seed in (1, 2, 3))
    values = red << 11 | green << 6 | blue  # 5, 6 and 5 bits; widened to 8, rounded or not
    data = files.bmp([row.tobytes() for row in values], 24, 16, masks=(0xF800, 0x7E0, 0x1F))
    wide = np.stack([red * 255 / 31, green * 2 * 255 / 63, blue * 255 / 31], -1)
    yield put("565.bmp", data, wide, 1)
    data = files.bmp([row.tobytes() for row in red << 10 | green << 5 | blue], 24, 16)
    yield put("555.bmp", data, np.stack([red, green, blue], -1) * 255 / 31, 1)


def gray_rgb(rgb: Array) -> Array:
    """The first channel as gray."""
    return gray_as_rgb(rgb[..., 0])


def _shapes(put: Maker) -> Iterator[Labeled]:
    for width, height in [(1, 1), (5, 5), (2000, 1), (1, 2000), (10_000, 8), (3, 2)]:
        rgb = noise(width, height)
        yield put(f"{width}x{height}.png", encoded(rgb, "PNG"), rgb)
    one = np.full((1, 1, 3), 90, np.uint8)
    for kind in ("BMP", "TIFF", "PPM", "TGA", "QOI"):
        yield put(f"one.{kind.lower()}", encoded(one, kind), one)
    yield put("one.webp", encoded(one, "WEBP", lossless=True), one)
    yield put("one.jpg", encoded(one, "JPEG", quality=100), one, LOSSY)
    yield put("interlaced.png", png(noise(1, 3), 8, RGB, interlaced=True), noise(1, 3))


def _palettes_and_gray(put: Maker) -> Iterator[Labeled]:
    for depth in (1, 2, 4, 8):
        count = 2**depth
        colors = noise(1, count, seed=depth)[:, 0]
        indices = noise(channels=1, seed=9).astype(np.uint16) % count
        table = chunk(b"PLTE", colors.tobytes())
        data = png(indices, depth, PALETTE, table)
        yield put(f"palette of {count}.png", data, colors[indices])
        data = png(indices, depth, PALETTE, table, interlaced=True)
        yield put(f"palette of {count}, interlaced.png", data, colors[indices])
        levels = gray_as_rgb(indices * 255 // (count - 1))
        yield put(f"gray {depth} bits.png", png(indices, depth, GRAY), levels)
        if depth != 2:  # no BMP has 2 bits
            bits = indices[..., None] >> np.arange(depth - 1, -1, -1) & 1
            rows = [np.packbits(row.ravel()).tobytes() for row in bits.astype(np.uint8)]
            table_ = [(int(r), int(g), int(b)) for r, g, b in colors]
            yield put(
                f"palette of {count}.bmp", files.bmp(rows, 24, depth, table_), colors[indices]
            )
    colors, indices = noise(1, 256, seed=8)[:, 0], noise(channels=1)
    for suffix, kind in [("gif", "GIF"), ("tif", "TIFF"), ("pcx", "PCX"), ("tga", "TGA")]:
        data = encoded(indexed(indices, colors), kind)
        yield put(f"palette.{suffix}", data, colors[indices])
    data = encoded(indexed(indices, colors), "GIF", interlace=1)
    yield put("interlaced.gif", data, colors[indices])
    gray = noise(channels=1)
    for kind in ("TIFF", "TGA", "PCX", "PPM", "JPEG2000"):
        yield put(f"gray.{kind.lower()}", encoded(gray, kind), gray_as_rgb(gray), 0)
    yield put("white is 0.tif", tiff(255 - gray, photometric=0), gray_as_rgb(gray))
    black = gray > 127
    black_and_white = gray_as_rgb(np.where(black, 255, 0))
    for kind in ("TIFF", "BMP", "PPM"):
        yield put(f"1 bit.{kind.lower()}", encoded(black, kind), black_and_white)
    data = encoded(black, "TIFF", compression="group4")
    yield put("fax.tif", data, black_and_white)
    narrow = gray % 101
    data = b"P5 24 16 100\n" + narrow.tobytes()
    yield put("levels to 100.pgm", data, gray_as_rgb(narrow * (255 / 100)), 1)  # rounded or not


def _deep(put: Maker) -> Iterator[Labeled]:
    levels = np.arange(0, 65536, 16).reshape(64, 64).astype(np.uint16)
    levels[-1, -1] = 65535
    eight = gray_as_rgb(np.rint(levels / 257))
    yield put("gray.png", png(levels, 16, GRAY), eight, 0, DEEP)
    yield put("interlaced.png", png(levels, 16, GRAY, interlaced=True), eight, 0, DEEP)
    for order in "<>":
        data = tiff(levels, photometric=1, order=order)
        yield put(f"gray{'le' if order == '<' else 'be'}.tif", data, eight, 0, DEEP)
    data = encoded(levels, "TIFF", compression="tiff_lzw")
    yield put("gray lzw.tif", data, eight, 0, DEEP)
    yield put("gray.pgm", b"P5 64 64 65535\n" + levels.astype(">u2").tobytes(), eight, 0, DEEP)
    yield put("32.tif", tiff(levels.astype(np.int32), photometric=1), eight, 0, DEEP)
    yield put("white is 0.tif", tiff(65535 - levels, photometric=0), eight, 0, DEEP)
    packed = tiff(65535 - levels, photometric=0, packed=True)
    yield put("white is 0, deflate.tif", packed, eight, 0, DEEP)
    yield put("gray.jp2", encoded(levels, "JPEG2000"), eight, 1, DEEP)
    twelve = levels >> 4
    of_twelve = gray_as_rgb(np.rint(twelve / (4095 / 255)))
    data = b"P5 64 64 4095\n" + twelve.astype(">u2").tobytes()
    yield put("12 bits.pgm", data, of_twelve, 0, DEEP)
    bits = (twelve.ravel()[:, None] >> np.arange(11, -1, -1) & 1).astype(np.uint8)
    strip = np.packbits(bits.ravel())
    data = tiff(strip[None], photometric=1, tags={256: [64], 257: [64], 258: [12], 278: [64]})
    yield put("12 bits.tif", data, of_twelve, 0, "12-bit samples are read as 8-bit")
    # Pillow keeps the upper byte of deep colors: less than one level below the exact value.
    rgb = np.stack([levels, levels.T, levels[::-1]], -1)
    yield put("rgb.png", png(rgb, 16, RGB), rgb / 257, 1, DEEP)
    yield put("rgb.tif", tiff(rgb), rgb / 257, 1, DEEP)
    yield put("rgb be.tif", tiff(rgb, order=">"), rgb / 257, 1, DEEP)
    yield put("planes.tif", tiff(rgb, planar=True, packed=True), rgb / 257, 1, DEEP)
    opaque = np.dstack([rgb, np.full((64, 64), 65535, np.uint16)])
    yield put("rgba.png", png(opaque, 16, RGBA), rgb / 257, 1, DEEP)
    half = np.dstack([levels, np.full((64, 64), 0x8000, np.uint16)])
    over = gray_as_rgb(levels / 257 * (128 / 255) + 255 * (127 / 255))
    yield put("gray, half seen.png", png(half, 16, GRAY_ALPHA), over, 1.5, DEEP, CLEAR)


def _names(put: Maker) -> Iterator[Labeled]:
    rgb = noise()
    data = encoded(rgb, "PNG")
    for name in (
        "имя 图像 é.png",
        "with blanks .png",
        "'single' \"double\" `back`.png",
        "a=b,c{d}[e](f)$g&h;i|j<k>l?m*n!o#p%q~r@s^t:u\\v.png",
        "-rf.png",
        "tab\tand\nnewline.png",
        os.fsdecode(b"latin-\xe9.png"),
        "n" * 251 + ".png",
        "no extension",
        ".png",
        "wrong.jpg",
        "wrong.txt",
        "wrong.svg",
        "UPPER.PNG",
    ):
        yield put(name, data, rgb)
    yield put("wrong.png", encoded(smooth(), "JPEG", quality=100, subsampling=0), smooth(), LOSSY)
    yield put("not a tga.tga", data, rgb)
    folder = put.folder
    (folder / "link.png").symlink_to("no extension")
    (folder / "chain.png").symlink_to("link.png")
    yield Labeled("link", folder / "link.png", rgb)
    yield Labeled("link to a link", folder / "chain.png", rgb)
    yield Labeled("dots", f"{folder}/../{folder.name}/./UPPER.PNG", rgb)
    yield Labeled("relative", os.path.relpath(folder / "UPPER.PNG"), rgb)


def _whole_after_all(put: Maker) -> Iterator[Labeled]:
    rgb = noise()
    data = encoded(rgb, "PNG")
    yield put("no end.png", data[:-12], rgb)
    yield put("more behind.png", data + b"trailing" * 99, rgb)
    gamma = chunk(b"gAMA", struct.pack(">I", 45455))  # sRGB's, as far as gAMA can tell
    yield put("gamma.png", png(rgb, 8, RGB, gamma), rgb)
    gamma = chunk(b"gAMA", struct.pack(">I", 100_000))
    yield put("other gamma.png", png(rgb, 8, RGB, gamma), rgb, 0, "its gamma, 1/1, is ignored")
    srgb = chunk(b"sRGB", b"\0")
    yield put("gamma and sRGB.png", png(rgb, 8, RGB, gamma, srgb), rgb)
    extra = chunk(b"teSt", bytes(99)) + chunk(b"zTXt", b"k\0\0" + bytes(9))
    yield put("strange chunks.png", png(rgb, 8, RGB, extra), rgb)
    soft = smooth()
    jpeg = encoded(soft, "JPEG", quality=100, subsampling=0)
    yield put("more behind.jpg", jpeg + b"\0trailing" * 99, soft, LOSSY)
    comment = b"\xff\xfe\xff\xff" + bytes(65533)
    yield put("long comment.jpg", jpeg[:2] + comment + jpeg[2:], soft, LOSSY)
    yield put("more behind.bmp", encoded(rgb, "BMP") + bytes(99), rgb)


def _options(put: Maker) -> Iterator[Labeled]:
    tall = np.full((3000, 4000, 3), 120, np.uint8)
    yield put("12 megapixels.png", encoded(tall, "PNG"), tall)
    # A quarter would be 1000 x 750, and less than twice the hint is never decoded.
    jpeg = encoded(tall, "JPEG", quality=90)
    yield put("hint.jpg", jpeg, tall[::2, ::2], LOSSY, hint=512)
    yield put("small hint.jpg", jpeg, tall[::8, ::8], LOSSY, hint=100)
    limit = encoded(noise(100, 100), "PNG")
    yield put("at the limit.png", limit, noise(100, 100), max_megapixels=0.01)
    yield put("no limit.png", limit, noise(100, 100), max_megapixels=float("inf"))
