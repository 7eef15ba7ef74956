"""Search for images on this machine: by path, in the images folder, packaged, downloaded."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from nst_exp.config.schema import Config, InitKind
from nst_exp.images.catalog import find_entry, named_images
from nst_exp.images.file_type import file_names
from nst_exp.utils.hashing import sha256_of
from nst_exp.utils.paths import cache_folder

FOLDER_VARIABLE = "NST_EXP_DATA"

# Suffixes of the formats that can be loaded. Pillow's own list has others too, such as .eps, which
# would hide a JPEG of the same stem.
_SUFFIXES = (
    "apng avif avifs bmp dds dib gif heic heif hif icb ico j2c j2k jfif jp2 jpc jpe jpeg jpf jpg "
    "jpx mpo pbm pcx pfm pgm png pnm ppm qoi tga tif tiff vda vst webp"
)
IMAGE_SUFFIXES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())


@dataclass(frozen=True)
class ResolvedImage:
    """The file that a run uses for an image of its config."""

    path: Path
    credit: str = ""  # title, author and license, if known
    substituted: dict[str, str] = field(default_factory=dict)  # for the record; {} = as asked


def images_folder(images: str | None) -> Path | None:
    """Return the folder where names are looked up: ``images``, or ``$NST_EXP_DATA``, or none."""
    value = images or os.environ.get(FOLDER_VARIABLE)
    # Unlike Path, os.path raises for nothing, such as ~ of an unknown user.
    return Path(os.path.expanduser(value)) if value else None


def downloads_folder() -> Path:
    """Return the folder of downloaded images, NAME-SHA256.SUFFIX each. It need not exist."""
    return cache_folder() / "images"


def find_image(value: str, images: str | None = None) -> ResolvedImage | None:
    """Find the file that an image key of the config means, without the network.

    In this order: a file of that path; an image in ``images_folder`` whose stem is the name, or
    another name of the same image, in any case of letters; a packaged image; a download whose
    content has not changed since. ``images`` is the config's key of that name.
    """
    path = Path(os.path.expanduser(value))
    if not value:
        return None
    if os.path.exists(path) and not os.path.isdir(path):
        return ResolvedImage(path)
    entry, folder = find_entry(value), images_folder(images)
    name, stems = (entry.name, entry.stems) if entry else (value, ())
    found = _find_stem(folder, [value, name, *stems]) if folder else None
    found = found or named_images().get(name) or (_find_download(name) if entry else None)
    return ResolvedImage(found, entry.credit if entry else "") if found else None


def input_hashes(config: Config) -> list[str]:
    """Compute the SHA-256 of the image files that a run reads, in a fixed order.

    Raises:
        OSError: If a file cannot be read, or is known only after a download.
    """
    values = [config.content, config.style]
    if config.init.kind is InitKind.file and config.init.file:
        values.append(config.init.file)
    return [_hash(value, config) for value in values]


def _hash(value: str, config: Config) -> str:
    found, entry = find_image(value, config.images), find_entry(value)
    if found is None and entry and entry.substitute and not entry.url and config.stand_ins:
        found = find_image(entry.substitute, config.images)
    path = found.path if found else Path(os.path.expanduser(value))
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe or a device may never end
        raise OSError(f"{path} is not a regular file")
    return sha256_of(path)


def image_names(folder: Path) -> list[str]:
    """List what has the suffix of an image in a folder; empty if it cannot be listed."""
    return [name for name in file_names(folder) if Path(name).suffix.lower() in IMAGE_SUFFIXES]


def _find_stem(folder: Path, stems: Iterable[str]) -> Path | None:
    """Find the image with the first of the stems; the exact spelling comes before other cases."""
    names = [name for name in image_names(folder) if os.path.isfile(folder / name)]
    for stem in stems:
        same = [name for name in names if Path(name).stem.casefold() == stem.casefold()]
        if same:
            return folder / min(same, key=lambda name: (Path(name).stem != stem, name))
    return None


def _find_download(name: str) -> Path | None:
    """Find a downloaded image by its name; a damaged file does not have the hash in its name."""
    with suppress(OSError):
        for path in sorted(downloads_folder().glob(f"{name}-*")):
            if path.stem == f"{name}-{sha256_of(path)}":
                return path
    return None
