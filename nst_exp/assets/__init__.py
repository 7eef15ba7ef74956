"""Pictures by name: what is known of them, where they are found, how they are fetched."""

from __future__ import annotations

from nst_exp.assets.local import (
    Found,
    find_image,
    folder_problem,
    image_path,
    images_folder,
    input_hashes,
    stems_in_folder,
)
from nst_exp.assets.obtain import Obtained, obtain_image
from nst_exp.assets.table import Picture, known_names, known_picture, named_images

__all__ = [
    "Found",
    "Obtained",
    "Picture",
    "find_image",
    "folder_problem",
    "image_path",
    "images_folder",
    "input_hashes",
    "known_names",
    "known_picture",
    "named_images",
    "obtain_image",
    "stems_in_folder",
]
