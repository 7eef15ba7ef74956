"""Pictures that come with the package, by name."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from nst_exp.config import Config, InitKind

_DATA = Path(__file__).resolve().parent / "data"


def named_images() -> dict[str, Path]:
    """Name -> file of every packaged picture; credits are in the same folder."""
    return {path.stem: path for path in sorted(_DATA.glob("*.jpg"))}


def input_hashes(config: Config) -> list[str]:
    """SHA-256 of the picture files that a run reads, in a fixed order."""
    files = [config.content, config.style]
    if config.init.kind is InitKind.file and config.init.file:
        files.append(config.init.file)
    hashes = []
    for value in files:
        with open(image_path(value), "rb") as stream:
            hashes.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return hashes


def image_path(value: str) -> Path:
    """The file that ``content``, ``style`` or ``init.file`` means: a packaged name, or a path.

    A file of that very name in the current folder goes before a packaged picture.
    """
    # os.path, unlike Path, raises for nothing: not for a name too long, nor for ~ of nobody.
    path = Path(os.path.expanduser(value))
    return path if os.path.exists(path) else named_images().get(value, path)
