"""Loading of image files as upright 8-bit sRGB."""

import json
import math
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, ImageFile, ImageOps, PngImagePlugin, UnidentifiedImageError

from nst_exp.images.file_type import (
    RawFile,
    UnsupportedPixels,
    describe_unreadable,
    escape,
    open_regular_file,
    refusal,
)
from nst_exp.images.srgb import read_cicp, to_srgb
from nst_exp.images.tiff import check_not_raw, check_samples
from nst_exp.utils.errors import reason_of
from nst_exp.utils.hashing import sha256_of

MAX_MEGAPIXELS = 178.0

# Formats that Pillow decodes itself, so that Ghostscript and the like never run.
# JPEG includes MPO, the container of some phones.
FORMATS = ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "PPM", "AVIF", "JPEG2000"]
FORMATS += ["ICO", "PCX", "DDS", "QOI"]
_TGA_SUFFIXES = (".tga", ".vda", ".icb", ".vst")  # TGA has no signature: much else looks like it

_pillow_lock = threading.RLock()


@dataclass(frozen=True)
class LoadedImage:
    """An image as a person sees it, and the file that it comes from."""

    image: Image.Image  # mode RGB, 8 bits, sRGB, upright
    path: Path
    sha256: str  # of the file
    original_size: tuple[int, int]  # width, height, upright; ``image`` is smaller after a hint
    warnings: list[str] = field(default_factory=list)  # "KEY=PATH: fact"
    alpha: Image.Image | None = None  # the opacity, mode L, if the file has transparent parts


def load_image(
    path: str | Path,
    *,
    key: str,
    max_megapixels: float = MAX_MEGAPIXELS,
    background: str = "white",
    hint: int | None = None,
) -> LoadedImage:
    """Load an image file as upright 8-bit sRGB.

    Applies EXIF orientation, color profile, palette and transparency, and converts CMYK and 16
    bits. Takes the first frame of an animation.

    Args:
        path: The file.
        key: Config key that names the file, for messages.
        max_megapixels: Larger images are refused before they are decoded.
        background: Color behind transparent parts, in Pillow's notation.
        hint: Length in pixels that the longer side will be resized to. A large JPEG may then be
            decoded at a half, a quarter or an eighth of its size, at least twice as long as this.

    Raises:
        ConfigError: If the file cannot be used, in one line with key, path, reason and advice.
    """
    place = Path(os.path.expanduser(path))
    notes: list[str] = []
    with _open_image(path, key, max_megapixels) as image:
        full = image.size
        if hint is not None:
            # The JPEG decoder may halve the image three times, never below the size asked for:
            # twice the hint, since its reduction is crude and the resampling after it is not.
            image.draft(None, (2 * hint, 1) if full[0] >= full[1] else (1, 2 * hint))
        rawmode = _rawmode(image)
        check_samples(image)
        image.info["cicp"] = read_cicp(image)
        image.load()
        result, alpha = to_srgb(image, rawmode, background, notes)
        orientation = _orientation(image, notes)
        for part in (result, alpha) if alpha else (result,):
            part.info.clear()  # files saved from this image must not inherit its profile
            # Applied to the file's own EXIF data, exif_transpose would fail if it is damaged.
            part.getexif()[ExifTags.Base.Orientation] = orientation
            ImageOps.exif_transpose(part, in_place=True)
        frames = 1
        if image.format != "MPO":  # a photo with its preview or depth map, not an animation
            with suppress(Exception):  # damage after the first frame, which is decoded already
                frames = getattr(image, "n_frames", 1)
        sha256 = sha256_of(place)
    if frames > 1:
        notes.append(f"it holds {frames} frames or pages, and the first is used")
    return LoadedImage(
        image=result,
        path=place,
        sha256=sha256,
        original_size=full[::-1] if orientation >= 5 else full,
        warnings=[f"{key}={escape(path)}: {note}" for note in notes],
        alpha=alpha,
    )


def read_size(path: str | Path, *, key: str, max_megapixels: float) -> tuple[int, int]:
    """Read width and height of an upright image, without decoding it.

    An orientation that a PNG stores after its pixels is not found.

    Raises:
        ConfigError: As ``load_image``.
    """
    with _open_image(path, key, max_megapixels) as image:
        width, height = image.size  # of a TIFF, Pillow gives it upright
        lies = image.format != "TIFF" and _orientation(image, []) >= 5
        return (height, width) if lies else (width, height)


def read_metadata(path: str | Path, *, key: str) -> dict[str, Any]:
    """Read the metadata that ``save_image`` wrote, and any other text chunk of a PNG.

    Raises:
        ConfigError: As ``load_image``, also for text that decompresses beyond Pillow's limits
            (1 MB for a chunk, 64 MB in all).
    """
    with _open_image(path, key, math.inf) as image:
        if isinstance(image, PngImagePlugin.PngImageFile):
            large = image.width * image.height > 1e6 * MAX_MEGAPIXELS
            # Text may come after the pixels: all of it is read only where decoding is cheap.
            found: dict[Any, Any] = dict(image.info if large else image.text)
            return found
        with suppress(Exception):  # no or damaged EXIF, or a description by another program
            return dict(json.loads(image.getexif()[ExifTags.Base.ImageDescription]))
    return {}


@contextmanager
def _open_image(path: str | Path, key: str, max_megapixels: float) -> Iterator[ImageFile.ImageFile]:
    """Open an image without decoding it; whatever fails until the end becomes a ConfigError."""
    with open_regular_file(path, key) as stream:
        head = b""
        try:
            head = stream.read(512)
            formats = _formats(path, head)
            with _pillow_settings(max_megapixels), Image.open(stream, formats=formats) as image:
                check_not_raw(image, head)
                yield image
        except Exception as error:  # Pillow raises nearly every type on damaged files
            raise refusal(key, path, *_diagnose(error, head, max_megapixels)) from error


def _formats(path: str | Path, head: bytes) -> list[str]:
    formats = list(FORMATS)
    if Path(path).suffix.lower() in _TGA_SUFFIXES:
        formats.append("TGA")
    if head[4:8] == b"ftyp":  # a container of AVIF, HEIC or video
        with suppress(ImportError):
            import pillow_heif

            pillow_heif.register_heif_opener()
            formats.append("HEIF")
    return formats


@contextmanager
def _pillow_settings(max_megapixels: float) -> Iterator[None]:
    """Replace Pillow's size limit and keep it silent; both are global, hence the lock."""
    with _pillow_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)  # up to twice the limit
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = int(min(max_megapixels, 1e9) * 1e6)  # it may be infinite
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _diagnose(error: Exception, head: bytes, max_megapixels: float) -> tuple[str, str]:
    """Return reason and advice for an exception of a decoder."""
    match error:
        case UnidentifiedImageError():
            return describe_unreadable(head)
        case RawFile():
            return "it is a camera's raw file", "develop it and export a JPEG, PNG or TIFF"
        case UnsupportedPixels():
            return str(error), "export it as PNG with 8 bits per channel"
        case Image.DecompressionBombWarning() | Image.DecompressionBombError():
            reason = f"it has more pixels than max_megapixels={max_megapixels:g} allows"
            return reason, "raise it or use a smaller copy"
        case MemoryError():
            return "there is not enough memory to decode it", "use a smaller copy"
        case OSError(errno=int()):
            return f"it cannot be read ({error.strerror})", "check the disk"
    reason = f"the file is damaged or cut off (Pillow: {escape(reason_of(error))})"
    return reason, "copy or export it again"


def _rawmode(image: ImageFile.ImageFile) -> str:
    args = image.tile[0].args if image.tile else ""
    return str(args[0] if isinstance(args, tuple) and args else args)


def _orientation(image: Image.Image, notes: list[str]) -> int:
    """Read the EXIF orientation, 1 to 8; the image must be decoded, since PNG may store it last."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        notes.append("its EXIF data is damaged and ignored")
        return 1
    return orientation if orientation in range(1, 9) else 1
