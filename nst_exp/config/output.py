"""Where ``out`` puts a run: a folder, or a file with the run's folder beside it."""

import os
from pathlib import Path

SUFFIXES = frozenset({".png", ".tif", ".tiff", ".jpg", ".jpeg", ".webp"})  # of results


def image_of(out: str | None) -> Path | None:
    """Return the image file that ``out`` names; None if it is a folder."""
    return _expanded(out) if out and Path(out).suffix.lower() in SUFFIXES else None


def folder_of(out: str) -> Path:
    """Return the folder that ``out`` means: of ``results/cat.png`` the folder ``results/cat``."""
    return _expanded(out).with_suffix("") if image_of(out) else _expanded(out)


def _expanded(out: str) -> Path:
    return Path(os.path.expanduser(out))
