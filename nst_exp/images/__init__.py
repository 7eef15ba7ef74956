"""Image files: finding, loading and saving them.

``tensors`` alone needs torch and is not imported here.
"""

from nst_exp.images.catalog import named_images
from nst_exp.images.fetch import resolve_image
from nst_exp.images.load import LoadedImage, load_image, read_metadata
from nst_exp.images.lookup import input_hashes
from nst_exp.images.save import save_image
from nst_exp.images.size import target_size

__all__ = [
    "LoadedImage",
    "input_hashes",
    "load_image",
    "named_images",
    "read_metadata",
    "resolve_image",
    "save_image",
    "target_size",
]
