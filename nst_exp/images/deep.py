"""PNG and TIFF with 16 bits per channel, which Pillow reads but cannot write."""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngInfo, putchunk
from PIL.TiffImagePlugin import ImageFileDirectory_v2

_CHUNK = 1 << 20


def write_png16(stream: BinaryIO, samples: NDArray[np.uint16], info: PngInfo) -> None:
    """Write RGB ``samples`` (H, W, 3) and the chunks in ``info`` as a PNG."""
    height, width, _ = samples.shape
    rows = samples.astype(">u2").reshape(height, -1).view(np.uint8)
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = 2  # every row as its difference from the row above
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    packed = zlib.compress(filtered.tobytes())

    stream.write(b"\x89PNG\r\n\x1a\n")
    putchunk(stream, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    for chunk in info.chunks:
        putchunk(stream, chunk[0], chunk[1])
    for start in range(0, len(packed), _CHUNK):
        putchunk(stream, b"IDAT", packed[start : start + _CHUNK])
    putchunk(stream, b"IEND")


def write_tiff16(
    stream: BinaryIO, samples: NDArray[np.uint16], icc: bytes, description: str | None
) -> None:
    """Write RGB ``samples`` (H, W, 3) as a TIFF of one strip; ``description`` must be ASCII."""
    height, width, _ = samples.shape
    differences = samples.astype("<u2")
    differences[:, 1:] -= samples[:, :-1]
    packed = zlib.compress(differences.tobytes())

    directory = ImageFileDirectory_v2()  # little-endian
    directory[256], directory[257] = width, height
    directory[258] = (16, 16, 16)
    directory[259] = 8  # deflate
    directory[262] = 2  # RGB
    if description is not None:
        directory[270] = description
    directory[273] = 0  # offset of the strip; Pillow adds the length of the directory
    directory[277] = 3
    directory[278] = height
    directory[279] = len(packed)
    directory[282] = directory[283] = 72.0
    directory[284] = 1
    directory[296] = 2
    directory[317] = 2  # every sample as its difference from the one to its left
    directory[34675] = icc
    directory.save(stream)
    stream.write(packed)
