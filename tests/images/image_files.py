"""Image files for tests that Pillow cannot write. Arrays are (H, W) or (H, W, channels)."""

import io
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]

GRAY, RGB, RGBA = 0, 2, 6  # color types of PNG


def noise(width: int = 24, height: int = 16, channels: int = 3) -> Array:
    """Make random levels 0..255, (H, W) for one channel."""
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def smooth(width: int, height: int) -> Image.Image:
    """Make an image that lossy formats keep to within a few levels; its corners differ."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [255 * x / width, 255 * y / height, 255 * (x + y) / (width + height)]
    return Image.fromarray(np.stack(planes, -1).astype(np.uint8))


def chunk(name: bytes, data: bytes) -> bytes:
    """Make a chunk of a PNG with its checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_header(width: int, height: int, depth: int, kind: int) -> bytes:
    """Make the start of a PNG."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)


def png(samples: Array, depth: int, kind: int, *chunks: bytes) -> bytes:
    """Make a PNG of samples in 0..2**depth - 1, with chunks before the pixels."""
    rows = samples.reshape(len(samples), -1)
    bits = (rows[..., None] >> np.arange(depth - 1, -1, -1) & 1).astype(np.uint8)
    packed = np.packbits(bits.reshape(len(rows), -1), axis=1)
    pixels = zlib.compress(np.insert(packed, 0, 0, axis=1).tobytes())  # each row without a filter
    start = png_header(samples.shape[1], samples.shape[0], depth, kind)
    return start + b"".join(chunks) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def tiff(
    samples: Array,
    photometric: str = "rgb",
    order: str = "<",
    planar: bool = False,
    packed: bool = False,
    tags: Mapping[int, int] | None = None,
) -> bytes:
    """Make a TIFF and then overwrite ``tags``, by which it may become invalid."""
    stream = io.BytesIO()
    tifffile.imwrite(
        stream,
        np.moveaxis(samples, -1, 0) if planar else samples,
        photometric=photometric,
        planarconfig="separate" if planar else None,
        byteorder=order,
        compression="zlib" if packed else None,
        metadata=None,
    )
    stream.seek(0)
    file = tifffile.TiffFile(stream)
    for tag, value in (tags or {}).items():
        file.pages[0].tags[tag].overwrite(value)
    return stream.getvalue()
