"""Pictures that come with the package, by name."""

from __future__ import annotations

from pathlib import Path

_DATA = Path(__file__).resolve().parent / "data"


def named_images() -> dict[str, Path]:
    """Name -> file of every packaged picture; credits are in the same folder."""
    return {path.stem: path for path in sorted(_DATA.glob("*.jpg"))}


def image_path(value: str) -> Path:
    """The file that ``content``, ``style`` or ``init.file`` means: a packaged name, or a path.

    A file of that very name in the current folder goes before a packaged picture.
    """
    path = Path(value).expanduser()
    return path if path.exists() else named_images().get(value, path)
