"""Picture files written byte by byte, for what Pillow cannot write and for what nobody should.

Everything is small. Arrays are (H, W) or (H, W, channels), integers.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]

PNG_START = b"\x89PNG\r\n\x1a\n"
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6  # color types of PNG
_PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
_PASSES += [(0, 1, 1, 2)]  # Adam7: first column, first row, step across, step down


def noise(width: int = 24, height: int = 16, channels: int = 3, seed: int = 0) -> Array:
    """Random levels 0..255 (height, width, channels); (height, width) for one channel."""
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(width: int = 64, height: int = 48) -> Array:
    """Colors that lossy formats keep to within a few levels, and no two corners alike."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [255 * x / width, 255 * y / height, 255 * (x + y) / (width + height)]
    return np.stack(planes, -1).astype(np.uint8)


def gray_as_rgb(levels: Array) -> Array:
    """(H, W) -> (H, W, 3)."""
    return np.repeat(levels[..., None], 3, -1)


def encoded(pixels: Array | Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a file as Pillow writes it."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def indexed(indices: Array, palette: Array) -> Image.Image:
    """A picture of mode P: indices (H, W) into a palette (N, 3)."""
    image = Image.frombytes("P", indices.shape[::-1], indices.astype(np.uint8).tobytes())
    image.putpalette(palette.astype(np.uint8).tobytes())
    return image


# --- PNG --------------------------------------------------------------------------------------


def chunk(name: bytes, data: bytes) -> bytes:
    """One chunk of a PNG, with the right check sum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def header(width: int, height: int, depth: int, kind: int, interlaced: bool = False) -> bytes:
    """The chunk IHDR."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced))


def _packed(row: Array, depth: int) -> bytes:
    values = row.ravel()
    if depth == 16:
        return values.astype(">u2").tobytes()
    bits = values[:, None] >> np.arange(depth - 1, -1, -1) & 1
    return np.packbits(bits.astype(np.uint8).ravel()).tobytes()


def png(samples: Array, depth: int, kind: int, *chunks: bytes, interlaced: bool = False) -> bytes:
    """A PNG of ``samples`` in 0..2**depth - 1; ``chunks`` stand before the pixels."""
    parts = [samples[y::down, x::across] for x, y, across, down in _PASSES]
    rows = b"".join(
        b"\0" + _packed(row, depth)  # no filter
        for part in (parts if interlaced else [samples])
        if part.size
        for row in part
    )
    start = PNG_START + header(samples.shape[1], samples.shape[0], depth, kind, interlaced)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return start + b"".join(chunks) + pixels + chunk(b"IEND", b"")


# --- TIFF -------------------------------------------------------------------------------------


def tiff(
    samples: Array,
    photometric: int = 2,
    order: str = "<",
    tags: Mapping[int, Sequence[int]] | None = None,
    planar: bool = False,
    packed: bool = False,
) -> bytes:
    """A TIFF of ``samples``: unsigned, signed or floats by their type, ``planar`` in planes."""
    samples = samples if samples.ndim == 3 else samples[..., None]
    height, width, count = samples.shape
    planes = [samples[..., i] for i in range(count)] if planar else [samples]
    stored = samples.dtype.newbyteorder(order)  # type: ignore[arg-type]
    strips = [plane.astype(stored).tobytes() for plane in planes]
    strips = [zlib.compress(strip) for strip in strips] if packed else strips
    directory: dict[int, Sequence[int]] = {
        256: [width],
        257: [height],
        258: [8 * samples.dtype.itemsize] * count,
        259: [8 if packed else 1],
        262: [photometric],
        273: [0] * len(strips),
        277: [count],
        278: [height],
        279: [len(strip) for strip in strips],
        284: [2 if planar else 1],
        339: [{"u": 1, "i": 2, "f": 3}[samples.dtype.kind]] * count,
        **(tags or {}),
    }
    behind = 8 + 2 + 12 * len(directory) + 4  # where long values stand, then the strips
    at = behind + sum(4 * len(v) for v in directory.values() if len(v) > 1)
    offsets = []
    for strip in strips:
        offsets.append(at)
        at += len(strip)
    directory[273] = offsets
    table, values = struct.pack(order + "H", len(directory)), b""
    for tag, numbers in sorted(directory.items()):
        data = struct.pack(f"{order}{len(numbers)}I", *numbers)
        table += struct.pack(order + "HHI", tag, 4, len(numbers))
        if len(numbers) == 1:
            table += data
        else:
            table += struct.pack(order + "I", behind + len(values))
            values += data
    mark = b"II*\0" if order == "<" else b"MM\0*"
    body = table + bytes(4) + values + b"".join(strips)
    return mark + struct.pack(order + "I", 8) + body


# --- BMP --------------------------------------------------------------------------------------


def bmp(
    rows: Sequence[bytes],
    width: int,
    bits: int,
    palette: Sequence[tuple[int, int, int]] = (),
    masks: Sequence[int] = (),
    upside_down: bool = True,
) -> bytes:
    """A BMP of rows from the top, in the file's own order of samples."""
    stored = [row.ljust((len(row) + 3) // 4 * 4, b"\0") for row in rows]
    pixels = b"".join(stored[::-1] if upside_down else stored)
    table = b"".join(bytes((b, g, r, 0)) for r, g, b in palette)
    table += b"".join(struct.pack("<I", mask) for mask in masks)
    height = len(rows) if upside_down else -len(rows)
    kind = 3 if masks else 0
    info = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, kind, len(pixels), 2835, 2835, len(palette), 0
    )
    start = 14 + len(info) + len(table)
    return struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start) + info + table + pixels
