"""What a TIFF says about its samples and Pillow passes over in silence."""

from __future__ import annotations

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from nst_exp.images.srgb import Unusable

_BITS, _PHOTOMETRIC, _PLANES, _SIGNED = 258, 262, 284, 339  # tags


def check_samples(image: Image.Image) -> None:
    """Raise Unusable for a TIFF, not yet decoded, that would be misread."""
    if not isinstance(image, TiffImageFile):
        return
    bits = image.tag_v2.get(_BITS, (1,))
    if max(bits, default=1) <= 16 and 2 in image.tag_v2.get(_SIGNED, ()):
        raise Unusable(
            "its samples are signed numbers, for which no white is defined",
            "export it with unsigned ones",
        )
    if not image.tile or image.tile[0].codec_name != "raw":
        return  # libtiff checks the rest itself
    planes = len(bits) if image.tag_v2.get(_PLANES) == 2 else 1
    # Pillow 13 takes the bytes of such planes for samples of 8 bits: the picture becomes noise.
    if planes > 1 and max(bits) > 8:
        raise Unusable(
            "its 16-bit channels lie in separate planes, which cannot be read without compression",
            "export it with interleaved channels",
        )
    # It leaves black what no strip or tile holds.
    parts = [part.extents for part in image.tile if part.extents]
    covered = sum((right - left) * (lower - upper) for left, upper, right, lower in parts)
    if covered < image.width * image.height * planes:
        raise Unusable("the file is damaged: a part of it is missing", "copy or export it again")


def white_is_zero(image: Image.Image) -> bool:
    """Whether 0 stands for white; Pillow inverts such samples itself up to 8 bits, not 16."""
    return isinstance(image, TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == 0
