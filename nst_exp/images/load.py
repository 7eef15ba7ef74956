"""Picture files to upright 8-bit sRGB, or one line that says why not."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path

from PIL import ExifTags, Image, ImageColor, ImageFile, PngImagePlugin, UnidentifiedImageError
from PIL.Image import Transpose

from nst_exp.images.chatter import overheard
from nst_exp.images.file_type import is_heif, opened, read_head, refusal, shown, what_is
from nst_exp.images.srgb import RGB, Unusable, to_srgb
from nst_exp.images.tiff import check_samples, white_is_zero
from nst_exp.utils.errors import ConfigError
from nst_exp.utils.suggest import did_you_mean

MAX_MEGAPIXELS = 178.0

# Formats that Pillow decodes itself: Ghostscript and the like are never run.
# MPO, the container of some phones, comes with JPEG.
_FORMATS = ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "PPM", "AVIF", "JPEG2000"]
_FORMATS += ["ICO", "PCX", "DDS", "QOI"]
_TGA_SUFFIXES = {".tga", ".vda", ".icb", ".vst"}  # TGA has no signature: half of all noise fits

_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}

_pillow_settings = threading.RLock()


@dataclass(frozen=True)
class LoadedImage:
    """A picture as a person would see it, and where it came from."""

    picture: Image.Image  # mode RGB, 8 bit, sRGB, upright
    path: Path
    sha256: str  # of the file
    original_size: tuple[int, int]  # width, height, upright; ``picture`` is smaller after a hint
    warnings: list[str] = field(default_factory=list)  # "key=path: what was done"


def load_image(
    path: str | Path,
    *,
    key: str,
    max_megapixels: float = MAX_MEGAPIXELS,
    background: str = "white",
    hint: int | None = None,
) -> LoadedImage:
    """Load the picture that the config names in ``key``.

    EXIF orientation, color profiles, palettes, transparency (over ``background``, any color name
    of Pillow's), CMYK and 16 bits are all resolved; of an animation the first frame is taken.
    ``hint`` is the length in pixels that the longer side will have in the end: a large JPEG may
    then be decoded at a half, a quarter or an eighth of its size, with at least twice that length.
    Raises ConfigError, one line with key, path, reason and advice, for whatever cannot be used.
    """
    behind = _color(background)
    notes: list[str] = []
    with opened(path, key) as stream:
        with _decoding(stream, path, key, max_megapixels) as image:
            full = image.size
            if hint is not None:
                _shrink_on_decode(image, hint)
            drafted = image.size != full
            rawmode = _rawmode(image)
            check_samples(image)
            _load(image, notes)
            _note_gamma(image, notes)
            orientation = _orientation(image, notes)
            picture, remarks = to_srgb(image, rawmode, behind, white_is_zero(image))
            if orientation in _UPRIGHT:
                picture = picture.transpose(_UPRIGHT[orientation])
            frames = _frames(image)
        sha256 = _digest(stream, path, key)
    if frames > 1:
        notes.append(f"it holds {frames} frames or pages, and the first is used")
    picture.info.clear()  # a stale profile in there would be written into files saved later
    if not drafted:
        full = picture.size
    elif orientation >= 5:
        full = full[::-1]
    prefix = f"{key}={shown(path)}: "
    return LoadedImage(
        picture=picture,
        path=Path(path).expanduser(),
        sha256=sha256,
        original_size=full,
        warnings=[prefix + note for note in notes + remarks],
    )


def read_metadata(path: str | Path, *, key: str) -> dict[str, str]:
    """What ``save_image`` wrote as metadata, and any other text chunk of a PNG.

    Raises ConfigError as ``load_image`` does, also for text that unpacks beyond Pillow's bounds
    (1 MB for a compressed chunk, 64 MB in all).
    """
    with opened(path, key) as stream, _decoding(stream, path, key, MAX_MEGAPIXELS) as image:
        if isinstance(image, PngImagePlugin.PngImageFile):
            return {str(name): str(value) for name, value in image.text.items()}
        try:
            found = json.loads(image.getexif()[ExifTags.Base.ImageDescription])
        except Exception:  # no EXIF, damaged EXIF, or a description by somebody else
            return {}
        if not isinstance(found, dict):
            return {}
        return {name: value for name, value in found.items() if isinstance(value, str)}


@contextmanager
def _decoding(
    stream: BufferedReader, path: str | Path, key: str, max_megapixels: float
) -> Iterator[ImageFile.ImageFile]:
    """The picture, identified but not yet decoded; all that goes wrong becomes a ConfigError."""
    head = read_head(stream)
    formats = list(_FORMATS)
    if is_heif(head):
        _enable_heif(path, key)
        formats = ["HEIF"]
    elif Path(path).suffix.lower() in _TGA_SUFFIXES:
        formats.append("TGA")
    try:
        with _quiet_pillow(max_megapixels), Image.open(stream, formats=formats) as image:
            yield image
    except ConfigError:
        raise
    except Exception as error:  # Pillow raises nearly every type there is on damaged files
        raise refusal(key, path, *_diagnosis(error, head, max_megapixels)) from error


@contextmanager
def _quiet_pillow(max_megapixels: float) -> Iterator[None]:
    """Our size limit in the place of Pillow's, nothing printed; both are global, hence a lock."""
    log = logging.getLogger("PIL.TiffImagePlugin")
    with _pillow_settings, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)  # Pillow warns up to twice
        before = Image.MAX_IMAGE_PIXELS, log.disabled
        finite = math.isfinite(max_megapixels)
        Image.MAX_IMAGE_PIXELS = int(max_megapixels * 1e6) if finite else None
        log.disabled = True
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, log.disabled = before


def _diagnosis(error: Exception, head: bytes, max_megapixels: float) -> tuple[str, str]:
    """Reason and advice for what a decoder raised."""
    words = " ".join(str(error).split())
    said = shown(words[:200] or type(error).__name__)
    if isinstance(error, UnidentifiedImageError):
        return what_is(head)
    if isinstance(error, (Image.DecompressionBombWarning, Image.DecompressionBombError)):
        pixels = re.search(r"\((\d+) pixels\)", words)
        size = int(pixels[1]) / 1e6 if pixels else 0.0
        digits = ".1f" if 0.1 <= size < 1e6 else ".3g"
        has = f"it has {size:{digits}} megapixels" if pixels else "it is too large"
        reason = f"{has}, more than max_megapixels={max_megapixels:g}"
        return reason, "raise max_megapixels or use a smaller copy"
    if isinstance(error, Unusable):
        return str(error), error.advice
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it", "use a smaller copy"
    if isinstance(error, OSError) and error.errno is not None:
        return f"it cannot be read ({error.strerror})", "check the disk"
    if isinstance(error, EOFError) or "truncated" in words.lower():
        return f"the file is cut off (Pillow: {said})", "copy or export it again"
    return f"the file is damaged (Pillow: {said})", "copy or export it again"


def _enable_heif(path: str | Path, key: str) -> None:
    try:
        import pillow_heif
    except ImportError as error:
        advice = "pip install 'nst-exp[heif]', or convert it to PNG or JPEG"
        raise refusal(key, path, "reading HEIC pictures needs pillow-heif", advice) from error
    pillow_heif.register_heif_opener()


def _color(background: str) -> RGB:
    color: tuple[int, ...] = ()
    with suppress(ValueError):
        color = ImageColor.getrgb(background)
    if len(color) == 4 and color[3] == 255:
        color = color[:3]
    if len(color) != 3:
        advice = did_you_mean(background, ImageColor.colormap).removeprefix("; ")
        raise refusal(
            "background",
            background,
            "it is not an opaque color",
            advice or "use a name such as white, or #rrggbb",
        )
    return color[0], color[1], color[2]


def _shrink_on_decode(image: ImageFile.ImageFile, hint: int) -> None:
    """Let the JPEG decoder reduce; Pillow rounds up, so no side falls below what is asked for."""
    # Twice the hint: the decoder's reduction is crude, the resampling that follows is not.
    wide = image.width >= image.height
    image.draft(None, (2 * hint, 1) if wide else (1, 2 * hint))


def _rawmode(image: ImageFile.ImageFile) -> str:
    args = image.tile[0].args if image.tile else None
    if isinstance(args, tuple):
        args = args[0] if args else None
    return args if isinstance(args, str) else ""


def _load(image: ImageFile.ImageFile, notes: list[str]) -> None:
    """Decode the pixels. libtiff's own words say more than the number that Pillow raises."""
    if image.format != "TIFF":
        image.load()
        return
    failed: OSError | None = None
    with overheard() as said:
        try:
            image.load()
        except OSError as error:
            failed = error
    words = f"libtiff: {shown(said[-1][:200])}" if said else ""
    if failed is not None:
        if words and failed.errno is None:
            raise OSError(words) from failed
        raise failed
    if words:
        notes.append(f"its decoder complains ({words}), so it may be damaged")


def _note_gamma(image: ImageFile.ImageFile, notes: list[str]) -> None:
    """A PNG may ask for another gamma than sRGB's, about 1/2.2, which few programs heed."""
    gamma, stronger = image.info.get("gamma"), image.info.keys() & {"icc_profile", "srgb"}
    if isinstance(gamma, float) and gamma > 0 and not stronger and abs(gamma * 2.2 - 1) > 0.05:
        notes.append(f"its gamma, 1/{1 / gamma:.3g}, is ignored")


def _orientation(image: Image.Image, notes: list[str]) -> int:
    """EXIF orientation 1..8. Of a loaded picture: TIFF is turned by Pillow, PNG may tell late."""
    # Not ImageOps.exif_transpose: it also writes the EXIF anew and fails where that is damaged.
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        notes.append("its EXIF data is damaged and ignored")
        return 1
    return orientation if isinstance(orientation, int) and orientation in _UPRIGHT else 1


def _frames(image: ImageFile.ImageFile) -> int:
    if image.format == "MPO":  # a photo with its preview or depth map is no animation
        return 1
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # damage behind the first frame, which is already decoded
        return 1


def _digest(stream: BufferedReader, path: str | Path, key: str) -> str:
    try:
        stream.seek(0)
        return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise refusal(
            key, path, f"it cannot be read ({error.strerror})", "check the disk"
        ) from error
