"""Pictures by name: what is known of them, where they are found, how they are fetched."""

from __future__ import annotations

from nst_exp.images.catalog import Picture, known_names, known_picture, named_images
from nst_exp.images.fetch import Resolved, resolve_image
from nst_exp.images.lookup import (
    Found,
    find_image,
    folder_problem,
    image_path,
    images_folder,
    input_hashes,
    stems_in_folder,
)

__all__ = [
    "Found",
    "Picture",
    "Resolved",
    "find_image",
    "folder_problem",
    "image_path",
    "images_folder",
    "input_hashes",
    "known_names",
    "known_picture",
    "named_images",
    "resolve_image",
    "stems_in_folder",
]
