"""Input files that must be refused, and a word of the reason that must be given."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.faults.labeled import Labeled
from tests.faults.picture_files import (
    GRAY,
    PNG_START,
    RGB,
    chunk,
    encoded,
    header,
    noise,
    png,
    smooth,
    tiff,
)

CUT, DAMAGED = "the file is cut off", "the file is damaged"


def wrong(folder: Path) -> Iterator[Labeled]:
    """All of them, written into ``folder``."""
    for group in (_no_file, _no_picture, _cut, _garbled, _too_large, _no_white):
        place = folder / group.__name__.strip("_")
        place.mkdir()
        yield from group(place)


def _put(folder: Path, name: str, data: bytes, *words: str, **options: object) -> Labeled:
    (folder / name).write_bytes(data)
    return Labeled(name, folder / name, words=words, options=options)


def _no_file(folder: Path) -> Iterator[Labeled]:
    data = encoded(noise(), "PNG")
    (folder / "photo.png").write_bytes(data)
    yield Labeled("missing", folder / "none.tiff", words=("no such file", str(folder)))
    yield Labeled("a near name", folder / "phto.png", words=("did you mean 'photo.png'?",))
    yield Labeled("missing folder", folder / "no" / "x.png", words=("there is no folder",))
    yield Labeled("relative", "none of these.png", words=("no such file", os.getcwd()))
    yield Labeled("directory", folder, words=("it is a directory",))
    yield Labeled("no name", "", words=("directory",))
    yield Labeled("path through a file", folder / "photo.png" / "x", words=("is a file, not a",))
    yield Labeled("256 bytes", folder / ("n" * 252 + ".png"), words=("File name too long",))
    yield Labeled("5000 bytes", folder / "/".join(["n" * 99] * 50), words=("File name too long",))
    yield Labeled("NUL", f"{folder}/a\0b.png", words=("not a valid path",))
    yield Labeled("newline", folder / "a\nb.png", words=("no such file",))
    yield Labeled("nobody's home", "~nobody-of-this-name/x.png", words=("not a valid path",))
    (folder / "dangling.png").symlink_to("nowhere.png")
    yield Labeled("dangling link", folder / "dangling.png", words=("link to nowhere.png",))
    (folder / "loop").symlink_to("loop")
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    yield Labeled("loop", folder / "loop", words=("leads back to itself",))
    yield Labeled("loop of two", folder / "a", words=("leads back to itself",))
    os.mkfifo(folder / "fifo.png")
    yield Labeled("FIFO", folder / "fifo.png", words=("not a regular file",))
    (folder / "link to a fifo.png").symlink_to("fifo.png")
    yield Labeled("link to it", folder / "link to a fifo.png", words=("not a regular file",))
    for device in ("/dev/zero", "/dev/urandom", "/dev/null", "/dev/full", "/dev/tty"):
        if os.path.exists(device):
            yield Labeled(device, device, words=("not a regular file",))
    here = os.getcwd()
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(folder)  # the name of a socket may have 108 bytes at most
        listener.bind("socket.png")
        os.chdir(here)
    yield Labeled("socket", folder / "socket.png", words=("not a regular file",))
    (folder / "secret.png").write_bytes(data)
    (folder / "secret.png").chmod(0)
    if not os.access(folder / "secret.png", os.R_OK):  # root may read everything
        yield Labeled("unreadable", folder / "secret.png", words=("permission denied",))
    if os.path.exists("/proc/self/mem"):  # opens, and fails to be read
        yield Labeled("/proc/self/mem", "/proc/self/mem", words=("empty",))


def _no_picture(folder: Path) -> Iterator[Labeled]:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    svg = b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg' width='9'></svg>"
    mp4 = b"\0\0\0\x18ftypisom\0\0\2\0isommp42" + bytes(200)
    eps = (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
        b"0 0 9 9 rectfill showpage\n%%EOF\n"
    )
    for name, data, word in [
        ("empty.jpg", b"", "empty (0 bytes)"),
        ("text.jpg", b"This is no picture.\n" * 9, "text file"),
        ("cyrillic.png", "Это не картинка.\n".encode() * 99, "text file"),
        ("lfs.jpg", pointer, "Git LFS pointer"),
        ("404.jpg", b"<!DOCTYPE html>\n<html><title>404</title></html>", "web page (HTML)"),
        ("404 more.jpg", b"\xef\xbb\xbf\r\n<HTML><body>Not Found", "web page (HTML)"),
        ("error.json.png", b'{"error": "not found"}', "text file"),
        ("zeros.png", bytes(5000), "zero bytes"),
        ("noise.png", noise(50, 50).tobytes(), "not a picture"),
        ("drawing.svg", svg, "SVG"),
        ("document.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "PDF"),
        ("film.mp4", mp4, "video"),
        ("film.mkv", b"\x1aE\xdf\xa3" + bytes(99), "video"),
        ("film.avi", b"RIFF\x99\0\0\0AVI LIST" + bytes(99), "video"),
        ("drawing.eps", eps, "PostScript"),
        ("binary.eps", b"\xc5\xd0\xd3\xc6" + bytes(26) + eps, "PostScript"),
        ("layers.psd", b"8BPS\0\1" + bytes(99), "Photoshop"),
        ("many.zip", b"PK\x03\x04" + bytes(99), "ZIP"),
        ("packed.png.gz", b"\x1f\x8b\x08" + bytes(99), "gzip"),
        ("phone.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), ""),
        ("mif1.jpg", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(99), ""),
        ("1.png", b"\x89", "not a picture"),
        ("sheet.pam", b"P7\nWIDTH 1\nHEIGHT 1\n", ""),
    ]:
        yield _put(folder, name, data, *([word] if word else []))


def _cut(folder: Path) -> Iterator[Labeled]:
    rgb, soft = noise(64, 64), smooth()
    files = {
        "jpg": encoded(rgb, "JPEG", quality=95),
        "progressive.jpg": encoded(rgb, "JPEG", quality=95, progressive=True),
        "png": encoded(rgb, "PNG"),
        "webp": encoded(rgb, "WEBP", lossless=True),
        "lossy.webp": encoded(rgb, "WEBP"),
        "raw.tif": encoded(rgb, "TIFF"),
        "lzw.tif": encoded(rgb, "TIFF", compression="tiff_lzw"),
        "deflate.tif": encoded(rgb, "TIFF", compression="tiff_adobe_deflate"),
        "gif": encoded(Image.fromarray(rgb).quantize(64), "GIF"),
        "bmp": encoded(rgb, "BMP"),
        "ppm": encoded(rgb, "PPM"),
        "tga": encoded(rgb, "TGA"),
        "qoi": encoded(rgb, "QOI"),
        "pcx": encoded(rgb, "PCX"),
        "dds": encoded(rgb, "DDS"),
        "jp2": encoded(rgb, "JPEG2000"),
        "avif": encoded(soft, "AVIF"),
        "ico": encoded(rgb, "ICO"),
    }
    for suffix, data in files.items():
        for name, size in [("half", len(data) // 2), ("start", 30)]:
            yield _put(folder, f"{name}.{suffix}", data[:size])
    jpeg, picture = files["jpg"], files["png"]
    for name, data, word in [
        ("half once more.jpg", jpeg[: len(jpeg) // 2], CUT),
        ("20 bytes less.jpg", jpeg[:-20], CUT),
        ("without its end.jpg", jpeg[:-2], CUT),
        ("100 bytes.jpg", jpeg[:100], CUT),
        ("2 bytes.jpg", jpeg[:2], "not a picture"),
        ("half once more.png", picture[: len(picture) // 2], CUT),
        ("20 bytes.png", picture[:20], CUT),
        ("nothing but its header.png", picture[:33], ""),
        ("no pixels.png", PNG_START + header(8, 8, 8, RGB) + chunk(b"IEND", b""), ""),
        ("signature.png", PNG_START, ""),
    ]:
        yield _put(folder, name, data, *([word] if word else []))


def _garbled(folder: Path) -> Iterator[Labeled]:
    rgb = noise(64, 64)
    data = bytearray(encoded(rgb, "PNG"))
    data[len(data) // 2] ^= 0xFF
    yield _put(folder, "a byte of the pixels.png", bytes(data), DAMAGED)
    data = bytearray(encoded(rgb, "PNG"))
    data[18] ^= 1
    yield _put(folder, "a byte of the header.png", bytes(data), "damaged PNG")
    start = PNG_START + header(64, 64, 8, RGB)
    few = chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    yield _put(folder, "too few pixels.png", start + few)  # torchvision.io crashes on it
    yield _put(folder, "no such filter.png", start + _rows(64, b"\x09"), DAMAGED)
    yield _put(folder, "depth 3.png", PNG_START + header(8, 8, 3, RGB) + few, "damaged PNG")
    yield _put(folder, "type 7.png", PNG_START + header(8, 8, 8, 7) + few, "damaged PNG")
    huge = PNG_START + struct.pack(">I4s", 0x7FFFFFFF, b"IHDR")
    yield _put(folder, "endless chunk.png", huge + bytes(99))
    data = bytearray(encoded(rgb, "JPEG", quality=95))
    data[1000:1200] = b"\xff\xc0" * 100  # markers where there should be none
    yield _put(folder, "200 bytes.jpg", bytes(data))
    jpeg = encoded(rgb, "JPEG")
    yield _put(folder, "no tables.jpg", jpeg[:2] + jpeg[jpeg.index(b"\xff\xc0") :])
    yield _put(folder, "no frame.jpg", jpeg[: jpeg.index(b"\xff\xc0")] + b"\xff\xd9")
    packed = bytearray(encoded(rgb, "TIFF", compression="tiff_adobe_deflate"))
    packed[len(packed) // 2] ^= 0xFF
    yield _put(folder, "a byte.tif", bytes(packed), DAMAGED, "libtiff: ")
    yield _put(folder, "directory beyond the end.tif", b"II*\0\xff\xff\xff\x7f" + bytes(99))
    yield _put(folder, "no directory.tif", b"II*\0" + bytes(4))
    yield _put(folder, "directory in itself.tif", b"II*\0\x04\0\0\0" + b"\4\0" * 99)
    for planar in (False, True):
        strips = tiff(rgb, tags={257: [100]}, planar=planar)  # of 100 rows it has 64
        yield _put(folder, f"no last strip, {planar}.tif", strips, "a part of it is missing")
        strips = tiff(rgb, tags={257: [100], 278: [64]}, planar=planar, packed=True)
        yield _put(folder, f"no last strip, {planar}, deflate.tif", strips, DAMAGED, "libtiff: ")
    webp = bytearray(encoded(rgb, "WEBP", lossless=True))
    webp[30:60] = bytes(30)
    yield _put(folder, "30 bytes.webp", bytes(webp))
    avif = bytearray(encoded(smooth(), "AVIF"))
    avif[40:90] = b"\xa5" * 50
    yield _put(folder, "boxes.avif", bytes(avif), "damaged AVIF")
    planes = bytearray(encoded(rgb, "BMP"))
    planes[28] = 7  # bits per pixel
    yield _put(folder, "7 bits.bmp", bytes(planes))
    shut = bytearray(encoded(rgb, "JPEG2000"))
    shut[100:140] = b"\xff" * 40
    yield _put(folder, "40 bytes.jp2", bytes(shut))


def _rows(side: int, filter_: bytes) -> bytes:
    rows = (filter_ + bytes(3 * side)) * side
    return chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _too_large(folder: Path) -> Iterator[Labeled]:
    some = chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")
    for width, height, word in [
        (14_000, 14_000, "196.0 megapixels, more than max_megapixels=178"),
        (2**31 - 1, 2**31 - 1, "megapixels, more than max_megapixels=178"),
        (2**31 - 1, 1, "2147.5 megapixels"),
        (0, 8, "damaged PNG"),
        (8, 0, "damaged PNG"),
        (0, 0, "damaged PNG"),
        (2**32 - 1, 2**32 - 1, ""),
    ]:
        data = PNG_START + header(width, height, 8, RGB) + some
        yield _put(folder, f"{width}x{height}.png", data, *([word] if word else []))
    jpeg = bytearray(encoded(noise(), "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = b"\xff\xff\xff\xff"
    yield _put(folder, "x.jpg", bytes(jpeg), "4294.8 megapixels")
    gif = bytearray(encoded(Image.fromarray(noise()).quantize(8), "GIF"))
    gif[6:10] = b"\xff\xff\xff\xff"
    yield _put(folder, "x.gif", bytes(gif), "4294.8 megapixels")
    bitmap = bytearray(encoded(noise(), "BMP"))
    bitmap[18:26] = struct.pack("<ii", 2**31 - 1, 2**31 - 1)
    yield _put(folder, "x.bmp", bytes(bitmap), "megapixels")
    yield _put(folder, "x.ppm", b"P6 2147483647 2147483647 255\n" + bytes(99), "megapixels")
    sheet = encoded(noise(100, 100), "PNG")
    limit = {"max_megapixels": 0.0099}
    yield _put(
        folder, "a little.png", sheet, "0.01 megapixels, more than max_megapixels=0.0099", **limit
    )
    icon = encoded(noise(64, 64), "ICO")
    yield _put(folder, "x.ico", icon, "max_megapixels", max_megapixels=0.004)
    text = zlib.compress(bytes(100_000_000))
    for name in (b"zTXt", b"iTXt", b"iCCP"):
        inside = b"k\0\1\0\0\0" if name == b"iTXt" else b"k\0\0"
        bomb = chunk(name, inside + text)
        data = png(np.zeros((1, 1), np.uint8), 8, GRAY, bomb)
        yield _put(folder, f"{name.decode()} bomb.png", data, DAMAGED)


def _no_white(folder: Path) -> Iterator[Labeled]:
    gray = noise(channels=1).astype(np.float32) / 255
    floats = "floats, for which no white is defined"
    kind = "stored in a way that cannot be read"
    for name, data, word in [
        ("float.tif", encoded(Image.fromarray(gray), "TIFF"), floats),
        ("float big-endian.tif", tiff(gray, 1, ">"), floats),
        ("float.pfm", b"Pf\n24 16\n-1.0\n" + gray.tobytes(), floats),
        ("float colors.tif", tiff(np.dstack([gray] * 3)), kind),
        ("64 bits.tif", tiff(gray.astype(np.float64), 1), kind),
        ("32 bits.tif", tiff(np.full((4, 4), 70_000, np.int32), 1), "beyond 16 bits"),
        ("32 bits unsigned.tif", tiff(np.full((4, 4), 2**32 - 1, np.uint32), 1), "beyond 16 bits"),
        ("negative.tif", tiff(np.full((4, 4), -1, np.int32), 1), "beyond 16 bits"),
        ("signed.tif", tiff(np.full((4, 4), 300, np.int16), 1), "signed"),
        ("signed 8.tif", tiff(np.full((4, 4), 3, np.int8), 1), "signed"),
        ("planes of 16.tif", tiff(noise().astype(np.uint16), planar=True), "planes"),
    ]:
        yield _put(folder, name, data, word)
