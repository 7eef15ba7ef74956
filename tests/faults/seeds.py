"""Small sound picture files of every kind that is read, to be damaged."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache

import numpy as np
from PIL import Image

from tests.faults.picture_files import (
    GRAY,
    PALETTE,
    RGB,
    bmp,
    chunk,
    encoded,
    indexed,
    noise,
    png,
    smooth,
    tiff,
)
from tests.faults.profiles import P3, gray_profile, rgb_profile


@cache
def seeds() -> tuple[tuple[str, bytes], ...]:
    """Names, whose suffix is that of the file, and contents."""
    return tuple(_seeds())


def _seeds() -> Iterator[tuple[str, bytes]]:
    rgb, rgba, soft = noise(12, 10), noise(12, 10, 4), smooth(24, 16)
    gray, inks = noise(12, 10, 1), Image.frombytes("CMYK", (12, 10), noise(12, 10, 4).tobytes())
    deep = gray.astype(np.uint16) * 257
    colors = noise(1, 8)[:, 0]
    small = indexed(gray % 8, colors)
    more = [Image.fromarray(noise(12, 10, seed=seed)) for seed in (1, 2)]
    turned = Image.Exif()
    turned[0x0112], turned[0x010E] = 6, "described"
    p3 = rgb_profile(P3, 2.2)
    yield "gray.png", encoded(gray, "PNG", icc_profile=gray_profile(1.0))
    yield "rgb.png", encoded(rgb, "PNG", exif=turned)
    yield "rgba.png", encoded(rgba, "PNG", icc_profile=p3)
    table = chunk(b"PLTE", colors.tobytes()) + chunk(b"tRNS", b"\0\x80\xff")
    yield "palette.png", png(gray % 8, 4, PALETTE, table)
    yield "deep.png", png(deep, 16, GRAY, chunk(b"tRNS", b"\1\1"))
    gamma = chunk(b"gAMA", struct.pack(">I", 100_000)) + chunk(b"tEXt", b"key\0value")
    yield "interlaced.png", png(rgb, 8, RGB, gamma, interlaced=True)
    yield "animated.png", encoded(rgb, "PNG", save_all=True, append_images=more)
    yield "baseline.jpg", encoded(soft, "JPEG")
    yield "progressive.jpg", encoded(soft, "JPEG", progressive=True, icc_profile=p3)
    yield "inks.jpg", encoded(inks, "JPEG")
    yield "turned.jpg", encoded(soft, "JPEG", exif=turned, restart_marker_rows=1)
    yield "lossy.webp", encoded(soft, "WEBP", exif=turned)
    yield "lossless.webp", encoded(rgba, "WEBP", lossless=True, icc_profile=p3)
    yield "animated.webp", encoded(rgb, "WEBP", save_all=True, append_images=more)
    yield "lzw.tif", encoded(inks, "TIFF", compression="tiff_lzw")
    yield "deflate.tif", encoded(rgba, "TIFF", compression="tiff_adobe_deflate", icc_profile=p3)
    pages = {"save_all": True, "append_images": more}
    yield "pages.tif", encoded(rgb, "TIFF", compression="packbits", **pages)
    yield "deep.tif", tiff(deep, 0)
    yield "big-endian.tif", tiff(rgb, order=">", planar=True)
    yield "jpeg.tif", encoded(soft, "TIFF", compression="jpeg")
    yield "fax.tif", encoded(gray > 127, "TIFF", compression="group4")
    yield "animated.gif", encoded(rgb, "GIF", save_all=True, append_images=more)
    yield "clear.gif", encoded(small, "GIF", transparency=1)
    yield "rgb.bmp", encoded(rgb, "BMP")
    rows = [np.packbits(row).tobytes() for row in gray > 127]
    yield "two colors.bmp", bmp(rows, 12, 1, [(9, 9, 9), (200, 100, 0)])
    yield "x.avif", encoded(soft, "AVIF", speed=10)
    yield "x.jp2", encoded(rgb, "JPEG2000")
    yield "x.ico", encoded(noise(16, 16, 4), "ICO")
    yield "x.pcx", encoded(small, "PCX")
    yield "x.dds", encoded(rgba, "DDS", pixel_format="DXT1")
    yield "x.qoi", encoded(rgba, "QOI")
    yield "x.ppm", b"P3 2 2 9 " + b"1 2 3 4 5 6 7 8 9 0 1 2"
    yield "x.tga", encoded(small, "TGA", compression="tga_rle")
