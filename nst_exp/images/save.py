"""Results to picture files: sRGB, tagged as such, never half written and never NaN."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from nst_exp.images.deep import write_png16, write_tiff16
from nst_exp.images.srgb import srgb_icc
from nst_exp.utils.atomic_files import write_atomically
from nst_exp.utils.errors import NumericalError, OutputError

DEEP_SUFFIXES = frozenset({".png", ".tif", ".tiff"})  # may have 16 bits
SUFFIXES = DEEP_SUFFIXES | {".jpg", ".jpeg", ".webp"}


def save_image(
    pixels: NDArray[Any],
    path: Path,
    *,
    bit_depth: int = 8,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write float ``pixels`` (H, W, 3), sRGB, as the format that the suffix of ``path`` names.

    Values are clipped to 0..1 and rounded to ``bit_depth`` (8, or 16 for DEEP_SUFFIXES). The file
    appears whole or not at all. ``metadata`` goes into text chunks of a PNG (names: 1 to 79 Latin-1
    characters) and, as JSON, into the description of the other formats (JPEG: 64 kB at most).
    Raises NumericalError if a value is not finite, OutputError if the file cannot be written, and
    ValueError for a shape, suffix or bit depth that the checks of the config let nobody ask for.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise ValueError(f"pixels must be (H, W, 3), not {pixels.shape}")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: unknown suffix; use one of {', '.join(sorted(SUFFIXES))}")
    if bit_depth not in (8, 16) or (bit_depth == 16 and suffix not in DEEP_SUFFIXES):
        raise ValueError(f"{path}: {bit_depth} bits cannot be written as {suffix}")
    broken = pixels.size - int(np.count_nonzero(np.isfinite(pixels)))
    if broken:
        raise NumericalError(
            f"{path}: not written, because {broken} of {pixels.size} values are not finite"
        )
    scale = 255 if bit_depth == 8 else 65535
    samples = np.rint(np.clip(pixels.astype(np.float32), 0, 1) * np.float32(scale))

    encoded = io.BytesIO()  # in memory, so that errors of the disk keep their reason
    try:
        if bit_depth == 16:
            _encode_deep(encoded, samples.astype(np.uint16), suffix, metadata)
        else:
            _encode(encoded, Image.fromarray(samples.astype(np.uint8)), suffix, metadata)
    except (OSError, ValueError) as error:  # a picture or metadata too large for the format
        raise OutputError(f"{path}: cannot be written as {suffix}: {error}") from error
    write_atomically(path, lambda stream: _copy(encoded, stream))


def _copy(encoded: io.BytesIO, stream: Any) -> None:
    stream.write(encoded.getbuffer())


def _encode(
    out: io.BytesIO, image: Image.Image, suffix: str, metadata: Mapping[str, str] | None
) -> None:
    if suffix == ".png":
        image.save(out, "PNG", pnginfo=_png_info(metadata))
        return
    icc = srgb_icc()
    description = _description(metadata)
    if suffix in DEEP_SUFFIXES:
        tags = {} if description is None else {"description": description}
        image.save(out, "TIFF", compression="tiff_adobe_deflate", icc_profile=icc, **tags)
        return
    exif = Image.Exif()
    if description is not None:
        exif[ExifTags.Base.ImageDescription] = description
    if suffix == ".webp":
        image.save(out, "WEBP", quality=95, icc_profile=icc, exif=exif)
    else:
        image.save(out, "JPEG", quality=95, subsampling=0, icc_profile=icc, exif=exif)


def _encode_deep(
    out: io.BytesIO,
    samples: NDArray[np.uint16],
    suffix: str,
    metadata: Mapping[str, str] | None,
) -> None:
    if suffix == ".png":
        write_png16(out, samples, _png_info(metadata))
    else:
        write_tiff16(out, samples, srgb_icc(), _description(metadata))


def _png_info(metadata: Mapping[str, str] | None) -> PngInfo:
    info = PngInfo()
    info.add(b"sRGB", b"\0")
    for name, value in (metadata or {}).items():
        if not 1 <= len(name) <= 79:
            raise ValueError(f"the metadata name '{name}' must have 1 to 79 characters")
        info.add_text(name, _encodable(value))
    return info


def _encodable(value: str) -> str:
    # file names that are not UTF-8 hold lone surrogates, and NUL ends some chunks early
    return value.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")


def _description(metadata: Mapping[str, str] | None) -> str | None:
    if not metadata:
        return None
    return json.dumps({name: _encodable(value) for name, value in metadata.items()})
