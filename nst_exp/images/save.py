"""Saving of images as sRGB files that are complete and finite."""

import io
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo, putchunk

from nst_exp.images.srgb import srgb_icc
from nst_exp.utils.atomic_files import write_bytes_atomically
from nst_exp.utils.errors import NumericalError, OutputError

SUFFIXES_16_BIT = frozenset({".png", ".tif", ".tiff"})
_BAND = 256  # rows
_MAX_TIFF = 2**32 - 2**25  # bytes of a classic TIFF's pixels; its offsets have 32 bits


def save_image(
    pixels: NDArray[Any],
    path: Path,
    *,
    bit_depth: int = 8,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write an image file, complete or not at all.

    Args:
        pixels: Floats of shape (H, W, 3), sRGB, or (H, W, 4) with the opacity; clipped to 0..1 and
            rounded.
        path: The file; its suffix, one of ``SUFFIXES``, is the format. JPEG has no opacity.
        bit_depth: 8, or 16 for SUFFIXES_16_BIT.
        metadata: Text chunks of a PNG (names of 1 to 79 Latin-1 characters), or else the
            description, as JSON (JPEG: 64 kB at most).

    Raises:
        NumericalError: If a value is not finite.
        OutputError: If the file cannot be written.
    """
    broken = pixels.size - sum(int(np.isfinite(band).sum()) for band in _bands(pixels))
    if broken:
        raise NumericalError(
            f"{path}: not written, because {broken} of {pixels.size} values are not finite"
        )
    samples = quantize(pixels, bit_depth)
    suffix = path.suffix.lower()
    encoded = io.BytesIO()  # in memory, so that errors of the disk keep their reason
    try:
        if suffix == ".png":
            _encode_png(encoded, samples, metadata or {})
        elif suffix in SUFFIXES_16_BIT:
            _encode_tiff(encoded, samples, metadata)
        else:
            exif = Image.Exif()
            if metadata:
                exif[ExifTags.Base.ImageDescription] = json.dumps(metadata)
            Image.fromarray(samples).save(
                encoded,
                Image.registered_extensions()[suffix],
                quality=95,
                subsampling=0,
                icc_profile=srgb_icc(),
                exif=exif,
            )
    except (OSError, ValueError) as error:  # too large for the format
        raise OutputError(f"{path}: cannot be written as {suffix}: {error}") from error
    write_bytes_atomically(path, encoded.getbuffer())


def quantize(pixels: NDArray[Any], bit_depth: int = 8) -> NDArray[Any]:
    """Convert floats, clipped to 0..1, to whole numbers of 8 or 16 bits."""
    scale, kind = (255, np.uint8) if bit_depth == 8 else (65535, np.uint16)
    samples = np.empty(pixels.shape, kind)
    for band, rounded in zip(_bands(pixels), _bands(samples), strict=True):
        values = np.clip(band.astype(np.float32), 0, 1) * np.float32(scale)
        rounded[:] = np.rint(values)
    return samples


def _bands(rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield views of some rows each: what is computed of them takes little memory."""
    return (rows[top : top + _BAND] for top in range(0, len(rows), _BAND))


def _encode_tiff(out: BinaryIO, samples: NDArray[Any], metadata: Mapping[str, str] | None) -> None:
    import tifffile  # here, since most runs do without

    tifffile.imwrite(
        out,
        samples,
        photometric="rgb",
        bigtiff=samples.nbytes > _MAX_TIFF,  # tifffile decides only without compression
        compression="zlib",
        predictor=True,
        description=json.dumps(metadata) if metadata else None,
        metadata=None,
        iccprofile=srgb_icc(),
        software=False,
        extrasamples=["UNASSALPHA"] if samples.shape[2] == 4 else None,
    )


def _encode_png(out: BinaryIO, samples: NDArray[Any], metadata: Mapping[str, str]) -> None:
    info = PngInfo()
    info.add(b"sRGB", b"\0")
    for name, value in metadata.items():
        info.add_text(name, value)
    if samples.dtype == np.uint8:
        Image.fromarray(samples).save(out, "PNG", pnginfo=info)
        return
    # Pillow does not write 16-bit RGB.
    height, width, channels = samples.shape
    out.write(b"\x89PNG\r\n\x1a\n")
    kind = 2 if channels == 3 else 6  # RGB or RGBA
    putchunk(out, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
    for chunk in info.chunks:
        putchunk(out, chunk[0], chunk[1])
    compressor, above = zlib.compressobj(), np.zeros((1, 2 * width * channels), np.uint8)
    for band in _bands(samples):  # of less than 2 GB, the most that a chunk can hold
        rows = band.astype(">u2").reshape(len(band), -1).view(np.uint8)
        filtered = rows - np.concatenate([above, rows[:-1]])  # filter 2: minus the row above
        putchunk(out, b"IDAT", compressor.compress(np.insert(filtered, 0, 2, axis=1)))
        above = rows[-1:]
    putchunk(out, b"IDAT", compressor.flush())
    putchunk(out, b"IEND")
