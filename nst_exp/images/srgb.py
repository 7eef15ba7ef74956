"""Any decoded picture to 8-bit sRGB without transparency."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from nst_exp.images.file_type import shown

RGB = tuple[int, int, int]

_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}


class Unusable(ValueError):
    """The pixels have no defined meaning as colors; what to do about it."""

    def __init__(
        self, reason: str, advice: str = "export it with 8 or 16 bits per channel"
    ) -> None:
        super().__init__(reason)
        self.advice = advice


def to_srgb(
    image: Image.Image, rawmode: str, background: RGB, inverted: bool = False
) -> tuple[Image.Image, list[str]]:
    """A loaded picture as upright RGB, composited over ``background``, and remarks on the way.

    ``rawmode`` is how the file stores its samples ("RGB;16B", "L;4"), as Pillow's tile says it.
    Samples beyond 8 bits that are ``inverted`` have 0 for white. Raises Unusable for floats and
    for integers beyond 16 bits.
    """
    notes: list[str] = []
    if _is_deep(rawmode) or image.mode.startswith("I"):
        bits = 12 if rawmode.startswith("I;12") else 16
        notes.append(f"its {bits}-bit samples are read as 8-bit")
    base, alpha = _base_and_alpha(image, rawmode, inverted)
    colors = _through_profile(base, image.info.get("icc_profile"), notes)
    if alpha is not None and alpha.getextrema() != (255, 255):
        canvas = Image.new("RGB", colors.size, background)
        canvas.paste(colors, mask=alpha)
        colors = canvas
        notes.append("its transparent parts are filled with the background color")
    return colors, notes


def _is_deep(rawmode: str) -> bool:
    # BGR;16 packs a whole pixel into 16 bits
    return ";16" in rawmode and not rawmode.startswith("BGR;")


def _base_and_alpha(
    image: Image.Image, rawmode: str, inverted: bool
) -> tuple[Image.Image, Image.Image | None]:
    """Colors in one of the modes of _SPACES, and the opacity (mode L) if there is any."""
    mode, key = image.mode, image.info.get("transparency")
    if mode == "F":
        raise Unusable("its samples are floats, for which no white is defined")
    if mode.startswith("I"):
        white = 4095 if rawmode.startswith("I;12") else 65535
        return _from_integers(np.asarray(image), key, white, inverted)
    if mode in ("La", "LA"):
        image = image.convert("LA")
        return image.getchannel("L"), image.getchannel("A")
    if mode in ("1", "L"):
        gray = image.convert("L")
        if not isinstance(key, int):
            return gray, None
        # Pillow widens samples of 2 and 4 bits to 8, but not the transparent value
        key *= {"L;2": 85, "L;4": 17}.get(rawmode, 1)
        return gray, gray.point([0 if level == key else 255 for level in range(256)])
    if mode == "RGB" and key is not None and _is_deep(rawmode):
        image.info["transparency"] = tuple(value >> 8 for value in key)  # as with the samples
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        return Image.merge("RGB", image.split()[:3]), alpha
    return (image if mode in _SPACES else image.convert("RGB")), None


def _from_integers(
    values: NDArray[Any], key: object, white: int, inverted: bool
) -> tuple[Image.Image, Image.Image | None]:
    if values.min() < 0 or values.max() > 65535:
        raise Unusable("its integer samples go beyond 16 bits, for which no white is defined")
    levels = ((values.astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)  # rounded
    gray = Image.fromarray(255 - levels if inverted else levels)
    if not isinstance(key, int):
        return gray, None
    return gray, Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8))


def _through_profile(base: Image.Image, icc: object, notes: list[str]) -> Image.Image:
    """``base`` as sRGB by its own profile; without a usable one, by what its mode suggests."""
    if isinstance(icc, bytes) and icc:
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            space = profile.profile.xcolor_space.strip()
            if space == "RGB" and base.mode == "L":
                base = base.convert("RGB")
            if space == "GRAY" and base.mode == "L":
                return _transformed_gray(base, profile)
            if space == _SPACES[base.mode]:
                return _transformed(base, profile)
            notes.append(
                f"its color profile is for {shown(space)}, not {base.mode}, and is ignored"
            )
        except Exception as error:  # PyCMSError, OSError, TypeError ... all mean a bad profile
            reason = shown(" ".join(str(error).split())[:200] or type(error).__name__)
            notes.append(f"its color profile cannot be used ({reason}) and is ignored")
    if base.mode == "LAB":
        return _transformed(base, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    if base.mode == "CMYK":
        notes.append("it is CMYK without a usable profile, so its colors are approximate")
    return base.convert("RGB")


def _transformed(
    base: Image.Image, profile: ImageCms.ImageCmsProfile, flags: int = 0
) -> Image.Image:
    result = ImageCms.profileToProfile(
        base,
        profile,
        _srgb_profile(),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION | flags,
    )
    assert result is not None  # only a conversion in place returns nothing
    return result


def _transformed_gray(base: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    # LittleCMS's shortcut for gray is up to 10 levels off in the shadows of a linear picture, and
    # ten times slower without it: so the 256 levels are converted, not the pixels.
    levels = Image.frombytes("L", (256, 1), bytes(range(256)))
    table = _transformed(levels, profile, ImageCms.Flags.NOOPTIMIZE)
    return Image.merge("RGB", [base.point(list(channel.tobytes())) for channel in table.split()])


@cache
def _srgb_profile() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@cache
def srgb_icc() -> bytes:
    """An sRGB profile to embed; the same bytes every time, so that files can be compared."""
    data = _srgb_profile().tobytes()
    date = b"".join(number.to_bytes(2, "big") for number in (2000, 1, 1, 0, 0, 0))
    return data[:24] + date + data[36:]
