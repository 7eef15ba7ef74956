"""The pictures that a network's mean activations are measured on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from nst_exp.config.schema import SizeMode
from nst_exp.images import MAX_MEGAPIXELS, load_image, named_images, target_size
from nst_exp.images.tensors import to_tensor
from nst_exp.utils.errors import ConfigError

Warn = Callable[[str], None]

SIDE = 256  # every picture gets about SIDE * SIDE pixels, so that each weighs the same
_NARROWEST = 64  # pixels that the deepest layers need (AlexNet: 63); that is 16 : 1
_HINT = SIDE * SIDE // _NARROWEST  # the longest side that a picture can have


@dataclass(frozen=True)
class CalibrationPicture:
    """A picture of about 256 x 256 pixels, its aspect ratio kept."""

    image: Tensor  # (1, 3, H, W), RGB in 0..1, float32
    path: Path
    sha256: str  # of the file


def files_in(folder: str, *, key: str) -> list[tuple[str, Path]]:
    """The files of a folder, by name and without hidden ones, each as (``key``, file).

    Raises ConfigError, naming ``key``, if there is no such folder, or nothing in it.
    """
    path = Path(os.path.expanduser(folder))
    try:
        found = sorted(entry for entry in path.iterdir() if entry.is_file())
    except OSError as error:
        raise ConfigError(
            f"{key}={folder}: cannot be read ({error.strerror}); name a folder of pictures"
        ) from error
    found = [entry for entry in found if not entry.name.startswith(".")]  # such as .DS_Store
    if not found:
        raise ConfigError(f"{key}={folder}: holds no pictures; put some there, a few will do")
    return [(key, entry) for entry in found]


def packaged() -> list[tuple[str, Path]]:
    """The packaged pictures, as ``files_in`` gives those of a folder."""
    return [("packaged", path) for path in named_images().values()]


def load_pictures(
    files: Iterable[tuple[str, Path]],
    warn: Warn,
    *,
    max_megapixels: float = MAX_MEGAPIXELS,
    background: str = "white",
) -> list[CalibrationPicture]:
    """The pictures in the files, (config key, file) each; equal files count once.

    ``warn`` is told what is left out, and why: files that are no pictures, and pictures too narrow
    for the deepest layers. Raises ConfigError if nothing is left.
    """
    pictures: dict[str, CalibrationPicture] = {}
    keys = dict.fromkeys(key for key, _ in files)
    for key, path in files:
        try:
            loaded = load_image(
                path, key=key, max_megapixels=max_megapixels, background=background, hint=_HINT
            )
        except ConfigError as error:
            for problem in error.problems:
                warn(f"not measured on: {problem}")
            continue
        for warning in loaded.warnings:
            warn(warning)
        width, height = target_size(*loaded.original_size, SIDE, SizeMode.area)
        if min(width, height) < _NARROWEST:
            warn(f"not measured on: {key}={path}: it is narrower than 1 : 16")
            continue
        image = to_tensor(loaded.image, (width, height))
        pictures.setdefault(loaded.sha256, CalibrationPicture(image, path, loaded.sha256))
    if not pictures:
        raise ConfigError(
            f"{', '.join(keys)}: none of the files there is a picture that can be used; "
            "name a folder of pictures"
        )
    return list(pictures.values())
