"""Pictures that are on this machine: by path, in the folder of pictures, packaged, downloaded."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nst_exp.config.schema import Config, InitKind
from nst_exp.images.catalog import Picture, known_picture, named_images, pictures
from nst_exp.utils.paths import cache_folder

FOLDER_VARIABLE = "NST_EXP_DATA"

# What the loader reads, by suffix. Not Pillow's own register of suffixes: that holds formats
# which the loader refuses, such as EPS, beside which a JPEG of the same stem would be passed over.
_LOADED = (
    "apng avif avifs bmp dds dib gif heic heif hif icb ico j2c j2k jfif jp2 jpc jpe jpeg jpf jpg "
    "jpx mpo pbm pcx pfm pgm png pnm ppm qoi tga tif tiff vda vst webp"
)
SUFFIXES = frozenset(f".{suffix}" for suffix in _LOADED.split())


@dataclass(frozen=True)
class Found:
    """A file that is here."""

    path: Path
    picture: Picture | None = None  # the table's entry; None for a path or a name not in there
    downloaded: bool = False  # it lies in the cache

    @property
    def credit(self) -> str:
        """Title, author and license, if they are known."""
        return self.picture.credit if self.picture else ""


def images_folder(images: str | None = None) -> Path | None:
    """The folder where names are looked up: ``images``, else ``$NST_EXP_DATA``, else none."""
    value = images or os.environ.get(FOLDER_VARIABLE)
    # os.path, unlike Path, raises for nothing: not for a name too long, nor for ~ of nobody.
    return Path(os.path.expanduser(value)) if value else None


def folder_problem(images: str | None = None) -> str | None:
    """What is wrong with ``images_folder``, one line with the key or the variable."""
    folder = images_folder(images)
    if folder is None:
        return None
    try:
        os.listdir(folder)
    except (OSError, ValueError) as error:
        shown = f"images={images}" if images else f"{FOLDER_VARIABLE}={os.environ[FOLDER_VARIABLE]}"
        if isinstance(error, FileNotFoundError):
            reason = "no such folder"
        elif isinstance(error, NotADirectoryError):
            reason = "it is not a folder"
        else:
            reason = f"it cannot be read ({getattr(error, 'strerror', None) or error})"
        advice = "name a folder of pictures" if images else "correct or unset the variable"
        return f"{shown}: {reason}; {advice}"
    return None


def stems_in_folder(images: str | None = None) -> list[str]:
    """The names that the folder of pictures adds."""
    folder = images_folder(images)
    return [Path(name).stem for name in _pictures_in(folder)] if folder else []


def picture_cache() -> Path:
    """The folder of downloaded pictures. It need not exist."""
    return cache_folder() / "pictures"


def find_image(value: str, images: str | None = None) -> Found | None:
    """The file that ``content``, ``style`` or ``init.file`` means, if it is here; no network.

    In this order: a file of that path; a picture in ``images_folder`` whose stem is the name or
    another of the same picture's names, in any case of letters; a packaged picture; one that was
    downloaded. None if there is no such file.
    """
    path = Path(os.path.expanduser(value))
    if not value or (os.path.exists(path) and not os.path.isdir(path)):
        return Found(path) if value else None
    picture = known_picture(value)
    names = [value]
    if picture is not None:
        names = list(dict.fromkeys([value, picture.name, *picture.stems]))
    folder = images_folder(images)
    if folder is not None and (own := _by_stem(folder, names)):
        return Found(own, picture)
    packaged = named_images().get(picture.name if picture else value)
    if packaged is not None:
        return Found(packaged, picture)
    if picture is not None and (fetched := _by_stem(picture_cache(), [picture.name])):
        return Found(fetched, picture, downloaded=True)
    return None


def find_stand_in(picture: Picture, images: str | None = None) -> tuple[str, Found] | None:
    """The first picture that is here along the chain of stand-ins, and its name; no network."""
    passed = [picture.name]
    while picture.stand_in is not None and picture.stand_in not in passed:
        found = find_image(picture.stand_in, images)
        if found is not None:
            return picture.stand_in, found
        passed.append(picture.stand_in)
        picture = pictures()[picture.stand_in]
    return None


def image_path(value: str, images: str | None = None) -> Path:
    """The path of ``find_image``; of what is not here, ``value`` as a path."""
    found = find_image(value, images)
    return found.path if found else Path(os.path.expanduser(value))


def input_hashes(config: Config) -> list[str]:
    """SHA-256 of the picture files that a run reads, in a fixed order; no network.

    Raises OSError where a file cannot be read, or is known only after a download.
    """
    values = [config.content, config.style]
    if config.init.kind is InitKind.file and config.init.file:
        values.append(config.init.file)
    return [_sha256(_foreseen(value, config)) for value in values]


def _foreseen(value: str, config: Config) -> Path:
    """The file that a run will read, as far as that is certain before it."""
    found, picture = find_image(value, config.images), known_picture(value)
    if found is None and picture is not None and picture.url is None and config.stand_ins:
        stand_in = find_stand_in(picture, config.images)
        found = stand_in[1] if stand_in else None
    return found.path if found else Path(os.path.expanduser(value))


def _sha256(path: Path) -> str:
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe or a device may never end
        raise OSError(f"{path} is not a regular file")
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _by_stem(folder: Path, stems: Iterable[str]) -> Path | None:
    """The picture with the first of the stems; the very spelling goes before another case."""
    names = _pictures_in(folder)
    for stem in stems:
        fitting = [name for name in names if Path(name).stem.casefold() == stem.casefold()]
        if fitting:
            return folder / min(fitting, key=lambda name: (Path(name).stem != stem, name))
    return None


def _pictures_in(folder: Path) -> list[str]:
    try:
        names = sorted(os.listdir(folder))
    except (OSError, ValueError):  # a folder of the config is looked at by folder_problem
        return []
    return [
        name
        for name in names
        if Path(name).suffix.lower() in SUFFIXES and os.path.isfile(folder / name)
    ]
