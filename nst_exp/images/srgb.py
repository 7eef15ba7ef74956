"""Conversion of decoded images to 8-bit sRGB without transparency."""

import io
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from nst_exp.images.file_type import UnsupportedPixels, escape
from nst_exp.images.tiff import white_is_zero
from nst_exp.utils.errors import reason_of

_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}  # by mode


def to_srgb(image: Image.Image, rawmode: str, background: str, notes: list[str]) -> Image.Image:
    """Convert a decoded image to 8-bit sRGB, composited over ``background``.

    ``rawmode`` is how the file stores its samples, from Pillow's tile ("RGB;16B", "L;4"). What the
    user should know is added to ``notes``.

    Raises:
        UnsupportedPixels: If samples are floats, or integers beyond 16 bits.
    """
    if ";16" in rawmode or image.mode.startswith("I"):
        bits = 12 if rawmode.startswith("I;12") else 16
        notes.append(f"its {bits}-bit samples are read as 8-bit")
    base, alpha = _split_alpha(image, rawmode)
    colors = _apply_profile(base, image.info, notes)
    if alpha is not None and alpha.getextrema() != (255, 255):
        canvas = Image.new("RGB", colors.size, background)
        canvas.paste(colors, mask=alpha)
        colors = canvas
        notes.append("its transparent parts are filled with the background color")
    return colors


def _split_alpha(image: Image.Image, rawmode: str) -> tuple[Image.Image, Image.Image | None]:
    """Return the colors in a mode of _SPACES and, if there is transparency, the opacity (L)."""
    mode, key = image.mode, image.info.get("transparency")
    if mode.startswith(("I", "F")):
        return _scale_to_8_bits(image, 4095 if rawmode.startswith("I;12") else 65535)
    if isinstance(key, int):  # Pillow widens samples of 2 and 4 bits to 8, but not this value
        image.info["transparency"] = key * {"L;2": 85, "L;4": 17}.get(rawmode, 1)
    elif mode == "RGB" and key is not None and ";16" in rawmode:
        image.info["transparency"] = tuple(value >> 8 for value in key)  # as with the samples
    is_gray = mode in ("1", "L", "LA", "La")
    if not image.has_transparency_data:
        return image if mode in _SPACES else image.convert("L" if is_gray else "RGB"), None
    *channels, alpha = image.convert("LA" if is_gray else "RGBA").split()
    return channels[0] if is_gray else Image.merge("RGB", channels), alpha


def _scale_to_8_bits(image: Image.Image, white: int) -> tuple[Image.Image, Image.Image | None]:
    values, key = np.asarray(image), image.info.get("transparency")
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise UnsupportedPixels("its samples are floats or beyond 16 bits: white is not defined")
    levels = ((values.astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)  # rounded
    gray = Image.fromarray(255 - levels if white_is_zero(image) else levels)
    if not isinstance(key, int):
        return gray, None
    return gray, Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8))


def _apply_profile(base: Image.Image, info: Mapping[Any, Any], notes: list[str]) -> Image.Image:
    """Convert to sRGB by the embedded profile or, without a usable one, by the mode."""
    if icc := info.get("icc_profile"):
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            space = profile.profile.xcolor_space.strip()
            if space == "RGB" and base.mode == "L":
                base = base.convert("RGB")
            if space == "GRAY" and base.mode == "L":
                return _transform_gray(base, profile)
            if space == _SPACES[base.mode]:
                return _transform(base, profile)
            notes.append(f"its color profile is for {escape(space)}, not {base.mode}: ignored")
        except Exception as error:  # PyCMSError, OSError, TypeError: a bad profile
            reason = escape(reason_of(error))
            notes.append(f"its color profile cannot be used ({reason}) and is ignored")
    gamma = info.get("gamma")  # of a PNG; that of sRGB is about 1/2.2
    if gamma and "srgb" not in info and abs(gamma * 2.2 - 1) > 0.05:
        notes.append(f"its gamma, 1/{1 / gamma:.3g}, is ignored")
    if base.mode == "LAB":
        return _transform(base, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    if base.mode == "CMYK":
        notes.append("it is CMYK without a usable profile, so its colors are approximate")
    return base.convert("RGB")


def _transform(base: Image.Image, profile: ImageCms.ImageCmsProfile, flags: int = 0) -> Image.Image:
    result = ImageCms.profileToProfile(
        base,
        profile,
        _srgb_profile(),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION | flags,
    )
    assert result is not None  # None only for a conversion in place
    return result


def _transform_gray(base: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    # LittleCMS's optimized path for gray is up to 10 levels off in the shadows of linear images,
    # and ten times slower without it: convert the 256 levels, not the pixels.
    levels = Image.frombytes("L", (256, 1), bytes(range(256)))
    table = _transform(levels, profile, ImageCms.Flags.NOOPTIMIZE)
    return Image.merge("RGB", [base.point(list(channel.tobytes())) for channel in table.split()])


@lru_cache
def _srgb_profile() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def srgb_icc() -> bytes:
    """Make an sRGB profile to embed, with a fixed date: equal images give equal files."""
    data = _srgb_profile().tobytes()
    date = b"".join(number.to_bytes(2, "big") for number in (2000, 1, 1, 0, 0, 0))
    return data[:24] + date + data[36:]
