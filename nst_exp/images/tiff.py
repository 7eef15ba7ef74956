"""Checks of TIFF files that Pillow would silently misread."""

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from nst_exp.images.file_type import RawFile, UnsupportedPixels

_SUBFILE_TYPE, _SUB_IFDS, _DNG_VERSION = 254, 330, 50706  # tags
_BITS, _PHOTOMETRIC, _PLANES, _SAMPLE_FORMAT = 258, 262, 284, 339
_REDUCED, _SIGNED = 1, 2


def check_samples(image: Image.Image) -> None:
    """Check an image that is opened but not yet decoded; formats other than TIFF pass.

    Raises:
        UnsupportedPixels: If Pillow would decode other pixels than the file holds.
        OSError: If a part of the image is missing.
    """
    if not isinstance(image, TiffImageFile):
        return
    bits = image.tag_v2.get(_BITS, (1,))
    if max(bits, default=1) <= 16 and _SIGNED in image.tag_v2.get(_SAMPLE_FORMAT, ()):
        raise UnsupportedPixels("its samples are signed numbers, for which white is not defined")
    if not image.tile or image.tile[0].codec_name != "raw":
        return  # libtiff checks the rest itself
    planes = len(bits) if image.tag_v2.get(_PLANES) == 2 else 1
    if planes > 1 and max(bits) > 8:  # Pillow 13 reads them as 8-bit samples: noise
        raise UnsupportedPixels("its 16-bit channels are in separate planes without compression")
    # Pillow leaves pixels black that no strip or tile covers.
    parts = [part.extents for part in image.tile if part.extents]
    covered = sum((right - left) * (lower - upper) for left, upper, right, lower in parts)
    if covered < image.width * image.height * planes:
        raise OSError("strips or tiles are missing")


def check_not_raw(image: Image.Image, head: bytes) -> None:
    """Check that a TIFF is not the raw file of a camera, whose first image is a preview.

    It has the tag of DNG, Canon's mark, or by a first directory that is marked as a
    reduced image and has others below it (Nikon, Sony, Hasselblad and others).

    Raises:
        RawFile: If it is one.
    """
    if isinstance(image, TiffImageFile):
        reduced = int(image.tag_v2.get(_SUBFILE_TYPE, 0)) & _REDUCED
        is_canon = head[4:11] == b"\x10\0\0\0CR\x02"
        if _DNG_VERSION in image.tag_v2 or is_canon or (reduced and _SUB_IFDS in image.tag_v2):
            raise RawFile


def white_is_zero(image: Image.Image) -> bool:
    """Return whether 0 is white; Pillow inverts such samples up to 8 bits, but not 16."""
    return isinstance(image, TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == 0
