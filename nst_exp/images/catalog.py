"""Catalog of the images that can be used by name, read from ``data/images.yaml``."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

_DATA = Path(__file__).resolve().parent / "data"


@dataclass(frozen=True)
class CatalogEntry:
    """Description of a named image."""

    name: str
    title: str
    author: str
    license: str
    url: str | None = None  # address of the download; None if there is no stable one
    md5: str | None = None  # of the file at that address when the catalog was written
    stems: Sequence[str] = ()  # further names, in the config and of files
    substitute: str | None = None  # packaged image used instead; None if packaged itself

    @property
    def credit(self) -> str:
        """Title, author and license in one line."""
        return f"{self.title}, {self.author}, {self.license}"


@lru_cache
def catalog() -> dict[str, CatalogEntry]:
    """Read the catalog, by name."""
    entries = yaml.safe_load((_DATA / "images.yaml").read_text(encoding="utf-8"))
    return {name: CatalogEntry(name, **entry) for name, entry in entries.items()}


def find_entry(value: str) -> CatalogEntry | None:
    """Find the catalog entry whose name or stem is ``value``."""
    return next((e for e in catalog().values() if value in (e.name, *e.stems)), None)


def named_images() -> dict[str, Path]:
    """List the packaged images: their file by name."""
    return {path.stem: path for path in sorted(_DATA.glob("*.jpg"))}
