"""Files to pictures and back. ``tensors`` alone needs torch and is not imported here."""

from nst_exp.images.load import LoadedImage, load_image, read_metadata
from nst_exp.images.save import DEEP_SUFFIXES, SUFFIXES, save_image
from nst_exp.images.size import target_size

__all__ = [
    "DEEP_SUFFIXES",
    "SUFFIXES",
    "LoadedImage",
    "load_image",
    "read_metadata",
    "save_image",
    "target_size",
]
