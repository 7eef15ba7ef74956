"""Search for images on this machine: by path, in the images folder, packaged, downloaded."""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from glob import glob
from pathlib import Path

from PIL import Image

from nst_exp.config.schema import Config, InitKind
from nst_exp.images.catalog import find_entry, named_images
from nst_exp.images.file_type import file_names
from nst_exp.images.load import FORMATS
from nst_exp.utils.hashing import sha256_of
from nst_exp.utils.paths import cache_folder

FOLDER_VARIABLE = "NST_EXP_DATA"


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
    if os.path.isfile(path):
        return ResolvedImage(path)
    entry, folder = find_entry(value), images_folder(images)
    name, stems = (entry.name, entry.stems) if entry else (value, ())
    found = _find_stem(folder, [value, name, *stems]) if folder else None
    found = found or named_images().get(name) or (_find_download(name) if entry else None)
    return ResolvedImage(found, entry.credit if entry else "") if found else None


def images_in(value: str) -> list[str]:
    """List the images of a folder, or the files that match a pattern; none for anything else.

    They are in the order of their names and of the numbers in these: image 2 before image 10.
    """
    path = os.path.expanduser(value)
    if find_image(value) is not None:
        return []
    if os.path.isdir(path):
        names = [n for n in file_names(Path(path)) if Path(n).suffix.lower() in image_suffixes()]
        found = [os.path.join(value, name) for name in names if not name.startswith(".")]
    else:
        found = [name for name in glob(path, recursive=True) if os.path.isfile(name)]
    return sorted(found, key=_natural)


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in re.split(r"(\d+)", text)]


def input_hashes(config: Config) -> list[str]:
    """Compute the SHA-256 of the image files that a run reads, in a fixed order.

    Raises:
        OSError: If a file cannot be read, or is known only after a download.
    """
    values = [config.content, *config.style, *config.style_map]
    if config.content_map is not None:
        values.append(config.content_map)
    if config.init.kind is InitKind.file and config.init.file:
        values.append(config.init.file)
    return [_hash(value, config) for value in values]


def _hash(value: str, config: Config) -> str:
    found, entry = find_image(value, config.images), find_entry(value)
    if found is None and entry and entry.substitute and not entry.url and config.stand_ins:
        found = find_image(entry.substitute, config.images)
    if found is None:
        raise FileNotFoundError(f"{value}: no such file")
    return sha256_of(found.path)


@lru_cache
def image_suffixes() -> frozenset[str]:
    """List the suffixes of all formats that can be loaded."""
    known = Image.registered_extensions().items()
    pillow = {suffix for suffix, name in known if name in (*FORMATS, "MPO", "TGA")}
    return frozenset(pillow | {".heic", ".heif", ".hif"})


def _find_stem(folder: Path, stems: Iterable[str]) -> Path | None:
    """Find the image with the first of the stems; the exact spelling comes before other cases."""
    files = [folder / name for name in file_names(folder)]
    images = [f for f in files if f.suffix.lower() in image_suffixes() and os.path.isfile(f)]
    for stem in stems:
        same = [f for f in images if f.stem.casefold() == stem.casefold()]
        if same:
            return min(same, key=lambda f: (f.stem != stem, f.name))
    return None


def _find_download(name: str) -> Path | None:
    """Find a downloaded image by its name; a damaged file does not have the hash in its name."""
    with suppress(OSError):
        for path in sorted(downloads_folder().glob(f"{name}-*")):
            if path.stem == f"{name}-{sha256_of(path)}":
                return path
    return None
