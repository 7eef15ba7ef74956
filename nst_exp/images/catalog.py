"""The table of named pictures, ``data/pictures.yaml``, and those of them that are packaged."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

_DATA = Path(__file__).resolve().parent / "data"


@dataclass(frozen=True)
class Picture:
    """What the table says of a picture."""

    name: str
    title: str
    author: str
    license: str
    url: str | None = None  # where it is downloaded from; None = nowhere
    md5: str | None = None  # of that file, as it was once published
    stems: tuple[str, ...] = ()  # other names, for the config and for files
    stand_in: str | None = None  # the name of the picture in its place; None = packaged

    @property
    def credit(self) -> str:
        """Title, author, license."""
        return f"{self.title}, {self.author}, {self.license}"


@cache
def pictures() -> dict[str, Picture]:
    """Name -> picture, as they stand in the table."""
    entries = yaml.safe_load((_DATA / "pictures.yaml").read_text(encoding="utf-8"))
    return {
        name: Picture(name, **{**entry, "stems": tuple(entry.get("stems", ()))})
        for name, entry in entries.items()
    }


def known_picture(value: str) -> Picture | None:
    """The picture of that name, or that has it among its other names."""
    return next((p for p in pictures().values() if value in (p.name, *p.stems)), None)


def named_images() -> dict[str, Path]:
    """Name -> file of every packaged picture; credits are in the same folder."""
    return {path.stem: path for path in sorted(_DATA.glob("*.jpg"))}


def known_names(others: bool = False) -> list[str]:
    """The names that pictures have on any machine; with ``others``, their other names as well."""
    names = [*pictures(), *named_images()]
    if others:
        names += [stem for picture in pictures().values() for stem in picture.stems]
    return list(dict.fromkeys(names))
