"""A picture file and what must come of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nst_exp.images import load_image
from nst_exp.utils.errors import ConfigError
from tests.faults.picture_files import Array

KEY = "content"

# Words of the warnings
DEEP, CLEAR = "16-bit samples are read as 8-bit", "transparent parts are filled"
FRAMES, CMYK = "it holds 3 frames or pages", "CMYK without a usable profile"

# JPEG at quality 100 and 4:4:4 rounds twice in YCbCr, whose inverse magnifies by up to 1.8; AVIF
# at its best likewise.
LOSSY = 4.0
# LittleCMS computes 8-bit pictures with tables of limited depth: within 2.5 levels of the formula.
MANAGED = 2.5


@dataclass(frozen=True)
class Labeled:
    """An input file: the pixels that it shows, or why it cannot be used."""

    name: str  # what it is
    path: str | Path
    pixels: Array | None = None  # (H, W, 3), 0..255; None: it must be refused
    most: float = 0  # the largest difference from ``pixels`` that is allowed
    words: Sequence[str] = ()  # in the warnings, one each; in the refusal, all of them
    options: Mapping[str, Any] = field(default_factory=dict)  # of load_image

    def broken(self) -> str:
        """Load the file; what is wrong with the answer, or ``""``."""
        try:
            loaded = load_image(self.path, key=KEY, **self.options)
        except ConfigError as error:
            if self.pixels is not None:
                return f"refused: {error}"
            return "; ".join(self._wrong_refusal(error))
        if self.pixels is None:
            return f"loaded as {loaded.image.size}, but must be refused"
        got = np.asarray(loaded.image)
        if loaded.image.mode != "RGB" or got.shape != self.pixels.shape:
            return f"loaded as {loaded.image.mode} {got.shape}, not RGB {self.pixels.shape}"
        difference = float(np.abs(got - np.asarray(self.pixels, float)).max())
        if difference > self.most:
            return f"pixels are {difference:.1f} levels off, more than {self.most:g}"
        heard = loaded.warnings
        right = len(heard) == len(self.words) and all(
            line.startswith(f"{KEY}={shown(self.path)}: ") and word in line and "\n" not in line
            for line, word in zip(heard, self.words, strict=False)
        )
        return "" if right else f"warnings {heard}, not about {list(self.words)}"

    def _wrong_refusal(self, error: ConfigError) -> Iterator[str]:
        line = str(error)
        if len(line.splitlines()) != 1 or not line.isprintable():
            yield f"the refusal is not one line: {line!r}"
        if not line.startswith(f"{KEY}={shown(self.path)}: "):
            yield f"the refusal does not begin with key and path: {line}"
        if "; " not in line:
            yield f"the refusal gives no advice: {line}"
        yield from (f"'{w}' is not said in: {line}" for w in self.words if w not in line)


def shown(path: str | Path) -> str:
    """The path as it must be named: as given, but on one line."""
    text = str(path)
    return text if text.isprintable() else repr(text)


class Maker:
    """Writes files into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self, name: str, data: bytes, pixels: Array, most: float = 0, *words: str, **options: Any
    ) -> Labeled:
        path = self.folder / name
        path.write_bytes(data)
        return Labeled(name, path, pixels, most, words, options)
