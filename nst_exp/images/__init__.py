"""Image files: finding, loading and saving them.

``tensors`` alone needs torch and is not imported here.
"""

from nst_exp.images.catalog import known_names, named_images
from nst_exp.images.fetch import resolve_image
from nst_exp.images.load import MAX_MEGAPIXELS, LoadedImage, load_image, read_metadata
from nst_exp.images.lookup import ResolvedImage, find_image, input_hashes
from nst_exp.images.save import SUFFIXES, SUFFIXES_16_BIT, save_image
from nst_exp.images.size import target_size

__all__ = [
    "MAX_MEGAPIXELS",
    "SUFFIXES",
    "SUFFIXES_16_BIT",
    "LoadedImage",
    "ResolvedImage",
    "find_image",
    "input_hashes",
    "known_names",
    "load_image",
    "named_images",
    "read_metadata",
    "resolve_image",
    "save_image",
    "target_size",
]
