"""Conversion of decoded images to 8-bit sRGB without transparency."""

import io
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, ImageFilter

from nst_exp.images.file_type import UnsupportedPixels, escape
from nst_exp.images.tiff import white_is_zero
from nst_exp.utils.errors import reason_of

_Array = NDArray[np.float64]
_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}  # by mode

# Code points of ITU-T H.273 (CICP), which a PNG gives in its chunk cICP, AVIF and HEIC in nclx.
_UNSPECIFIED, _BT709, _PQ, _HLG = 2, 1, 16, 18
_D65 = (0.3127, 0.3290)
_PRIMARIES = {  # x and y of red, green and blue; white is D65
    1: ("BT.709", (0.640, 0.330, 0.300, 0.600, 0.150, 0.060)),
    5: ("BT.601, 625 lines", (0.640, 0.330, 0.290, 0.600, 0.150, 0.060)),
    6: ("BT.601, 525 lines", (0.630, 0.340, 0.310, 0.595, 0.155, 0.070)),
    9: ("BT.2020", (0.708, 0.292, 0.170, 0.797, 0.131, 0.046)),
    12: ("Display P3", (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)),
}
_OTHER_PRIMARIES = {4: "BT.470 M", 7: "SMPTE 240M", 8: "film", 10: "XYZ", 11: "DCI-P3"}
_LIKE_SRGB = (1, 2, 6, 13, 14, 15)  # the curve of BT.709, 601 and 2020 is seen as that of sRGB
_TRANSFERS = {4: "gamma 2.2", 5: "gamma 2.8", 7: "SMPTE 240M", 8: "linear", 9: "logarithmic"}
_TRANSFERS |= {10: "logarithmic", 11: "xvYCC", 12: "BT.1361", _PQ: "PQ", 17: "DCI", _HLG: "HLG"}
_TRANSFERS |= dict.fromkeys(_LIKE_SRGB, "like sRGB")
_WHITE, _HLG_PEAK = 203.0, 1000.0  # cd/m^2: ITU-R BT.2408 and BT.2100
_KNEE = 0.5  # linear light, of white 1; brighter parts are compressed if the image exceeds white


def to_srgb(
    image: Image.Image, rawmode: str, background: str, notes: list[str]
) -> tuple[Image.Image, Image.Image | None]:
    """Convert a decoded image to 8-bit sRGB, composited over ``background``.

    ``rawmode`` is how the file stores its samples, from Pillow's tile ("RGB;16B", "L;4"). What the
    user should know is added to ``notes``.

    Returns:
        The colors, and the opacity (L) if there is transparency.

    Raises:
        UnsupportedPixels: If samples are floats, or integers beyond 16 bits.
    """
    if ";16" in rawmode or image.mode.startswith("I"):
        bits = 12 if rawmode.startswith("I;12") else 16
        notes.append(f"its {bits}-bit samples are read as 8-bit")
    base, alpha = _split_alpha(image, rawmode)
    colors = _apply_profile(base, image.info, notes)
    if alpha is None or alpha.getextrema() == (255, 255):
        return colors, None
    canvas = Image.new("RGB", colors.size, background)
    canvas.paste(colors, mask=alpha)
    notes.append("its transparent parts are filled with the background color")
    return canvas, alpha


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
    """Convert to sRGB by code points, the embedded profile or, without a usable one, the mode."""
    cicp = info.get("cicp")
    if cicp is not None and (converted := _convert_cicp(base, *cicp)):
        return converted
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
    if cicp is not None:
        notes.append(f"its color space, {_describe_cicp(*cicp)}, is read as sRGB")
    elif gamma and "srgb" not in info and abs(gamma * 2.2 - 1) > 0.05:
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


def read_cicp(image: ImageFile.ImageFile) -> tuple[int, int, bool] | None:
    """Read the code points of an opened file: primaries, transfer function, full range.

    None if it has none, or does not specify them. In a PNG they have priority over a profile (PNG
    specification, third edition, 4.3), in AVIF and HEIC a profile over them (ISO/IEC 23000-22).
    """
    codes: tuple[int, int, bool] = _UNSPECIFIED, _UNSPECIFIED, True
    stream = image.fp
    if image.format == "HEIF" and (nclx := image.info.get("nclx_profile")):  # none with a profile
        codes = nclx["color_primaries"], nclx["transfer_characteristics"], True
    elif image.format == "PNG" and stream is not None:
        end = stream.tell()  # the pixels start there
        stream.seek(0)
        data = stream.read(end).partition(b"\0\0\0\x04cICP")[2]
        if len(data) >= 4:
            codes = data[0], data[1], data[3] != 0
    elif image.format == "AVIF" and stream is not None and "icc_profile" not in image.info:
        stream.seek(0)
        data = stream.read().partition(b"colrnclx")[2]  # of the first image, the main one
        if len(data) >= 4:
            codes = *struct.unpack(">HH", data[:4]), True
    return None if _UNSPECIFIED == codes[0] == codes[1] else codes


def _convert_cicp(
    image: Image.Image, primaries: int, transfer: int, full_range: bool
) -> Image.Image | None:
    """Convert to sRGB, by interpolation in a table; None if the color space is not supported.

    With PQ and HLG, white is 203 cd/m^2. If the image has brighter values, those above half of
    white are compressed by Reinhard's curve so that the brightest one becomes white.
    """
    primaries = _BT709 if primaries == _UNSPECIFIED else primaries
    if primaries not in _PRIMARIES or transfer not in (*_LIKE_SRGB, _PQ, _HLG):
        return None
    image = image.convert("RGB")
    if primaries == _BT709 and transfer in _LIKE_SRGB and full_range:
        return image
    side = np.linspace(0, 1, 65)
    blue, green, red = np.meshgrid(side, side, side, indexing="ij")
    signal = np.stack([red, green, blue], -1)
    brightest = np.full(3, np.max(image.getextrema()) / 255)
    if not full_range:
        signal, brightest = (np.clip((v * 255 - 16) / 219, 0, 1) for v in (signal, brightest))
    to_xyz = _rgb_to_xyz(primaries)
    linear = _to_linear(signal, transfer, to_xyz[1])
    if transfer in (_PQ, _HLG):
        peak = max(1.0, (_to_linear(brightest, transfer, to_xyz[1])[0] - _KNEE) / (1 - _KNEE))
        over = np.maximum(linear - _KNEE, 0) / (1 - _KNEE)
        curve = over * (1 + over / peak**2) / (1 + over)
        linear = np.minimum(linear, _KNEE) + (1 - _KNEE) * curve
    linear = linear @ (np.linalg.inv(_rgb_to_xyz(_BT709)) @ to_xyz).T
    size = np.abs(linear)  # of colors outside of sRGB, too: they are clipped after interpolation
    encoded = np.where(size <= 0.0031308, 12.92 * size, 1.055 * size ** (1 / 2.4) - 0.055)
    encoded *= np.sign(linear)
    return image.filter(ImageFilter.Color3DLUT(65, encoded.ravel()))


def _to_linear(signal: _Array, transfer: int, luminance: _Array) -> _Array:
    """Convert a signal in 0..1 to linear light, where white is 1."""
    if transfer == _PQ:  # SMPTE ST 2084
        root = signal ** (32 / 2523)
        above = np.maximum(root - 0.8359375, 0)
        return 10_000 / _WHITE * (above / (18.8515625 - 18.6875 * root)) ** (8192 / 1305)
    if transfer == _HLG:  # BT.2100: the inverse OETF, then the OOTF of a display of 1000 cd/m^2
        high = (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12
        scene = np.where(signal <= 0.5, signal**2 / 3, high)
        return _HLG_PEAK / _WHITE * scene * (scene @ luminance)[..., None] ** 0.2
    return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)


def _rgb_to_xyz(primaries: int) -> _Array:
    corners = np.reshape(_PRIMARIES[primaries][1] + _D65, (4, 2))
    x, y = corners.T
    xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    return xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])


def _describe_cicp(primaries: int, transfer: int, full_range: bool) -> str:
    names = _OTHER_PRIMARIES | {number: name for number, (name, _) in _PRIMARIES.items()}
    return (
        f"primaries {primaries} ({names.get(primaries, 'unknown')}), transfer function {transfer} "
        f"({_TRANSFERS.get(transfer, 'unknown')})"
    )


@lru_cache
def _srgb_profile() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def srgb_icc() -> bytes:
    """Make an sRGB profile to embed, with a fixed date: equal images give equal files."""
    data = _srgb_profile().tobytes()
    date = b"".join(number.to_bytes(2, "big") for number in (2000, 1, 1, 0, 0, 0))
    return data[:24] + date + data[36:]
