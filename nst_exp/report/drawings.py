"""Pictures drawn from runs (figures, sheets), marked as such: only their like replaces them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nst_exp.utils.atomic_files import write_atomically


def save_drawing(drawing: Image.Image, path: Path, software: str) -> None:
    """Write a PNG that says which part of the program drew it. Raises OSError or OutputError."""
    info = PngInfo()
    info.add(b"sRGB", b"\0")
    info.add_text("Software", software)
    encoded = io.BytesIO()  # in memory, so that errors of the disk keep their reason
    drawing.save(encoded, "PNG", pnginfo=info)

    def write(stream: BinaryIO) -> None:
        stream.write(encoded.getbuffer())

    write_atomically(path, write)


def drawn_by(path: Path, software: str) -> bool:
    """Whether the file is a picture that ``save_drawing`` wrote under this name."""
    try:
        with Image.open(path) as image:
            return image.info.get("Software") == software
    except (OSError, ValueError, SyntaxError):  # what Pillow raises for other files
        return False
