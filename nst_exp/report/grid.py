"""Draw a grid of labeled images: used by contact sheets, figures and the trade-off plot.

Matplotlib sets the text; images are copied pixel by pixel into their cells.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nst_exp.utils.atomic_files import write_bytes_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_WIDTH = 4000  # pixels of a drawing
MIN_CELL = 160  # pixels; a label below a thumbnail must stay readable
SOFTWARE = "nst_exp report"  # in the file: only drawings are replaced by drawings
BLACK, GRAY, LIGHT = "#141414", "#7d7d7d", "#bebebe"

_MIN_WIDTH = 480  # pixels of a title's line
_INSET_WIDTH, _INSET_HEIGHT = 0.28, 0.6  # largest share of the panel that an inset takes
_LINE, _CHARACTER = 1.3, 0.62  # height and mean width of text, in units of the font's size
_FONT = "DejaVu Sans"  # comes with matplotlib


@dataclass(frozen=True)
class Panel:
    """An image (RGB) with its label, or a frame with a note that says why there is none."""

    label: str
    image: Image.Image | None
    note: str = ""
    inset: Image.Image | None = None  # drawn into the lower left corner


Row = Sequence[Panel | str | None]  # a text is the name of a row or column


def draw_grid(
    rows: Sequence[Row], *, title: str = "", caption: str = "", enlarge: float = 1.0
) -> Image.Image:
    """Draw panels in cells of equal width.

    Args:
        rows: Cells row by row; None leaves a cell empty.
        title: Text above everything.
        caption: Text below everything.
        enlarge: Largest factor by which an image smaller than its cell is enlarged.

    Returns:
        The drawing, RGB on white, at most MAX_WIDTH wide. Images are reduced only if they are wider
        than their cell. Equal arguments give equal pixels.
    """
    images = [cell.image for row in rows for cell in row if isinstance(cell, Panel) and cell.image]
    widest = max((image.width for image in images), default=MIN_CELL)
    columns = max(map(len, rows))
    width = min(max(round(widest * enlarge), MIN_CELL), int(MAX_WIDTH / (1.06 * columns + 0.06)))
    page = _Page(width, columns)
    page.add_text(title, 1.5)
    for row in rows:
        page.add_row([_fit(cell, width, enlarge) if cell else cell for cell in row])
    page.add_text(caption, 0.85, GRAY)
    return page.render()


@contextmanager
def drawing_style() -> Iterator[None]:
    """Draw with this font and without mathematical notation, whatever the user's defaults are."""
    import matplotlib as mpl

    style = {"font.family": _FONT, "text.usetex": False, "text.parse_math": False}
    with mpl.rc_context(style), warnings.catch_warnings():  # type: ignore[arg-type]
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a box is drawn
        yield


def render(figure: Figure) -> Image.Image:
    """Return the pixels of a matplotlib figure, RGB."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=figure.dpi, pil_kwargs={"compress_level": 1})
    return Image.open(stream).convert("RGB")


def save_drawing(drawing: Image.Image, path: Path) -> None:
    """Write a PNG that is marked as drawn by this program.

    Raises:
        OutputError: If the file cannot be written.
    """
    info = PngInfo()
    info.add(b"sRGB", b"\0")
    info.add_text("Software", SOFTWARE)
    encoded = io.BytesIO()
    drawing.save(encoded, "PNG", pnginfo=info)
    write_bytes_atomically(path, encoded.getvalue())


def is_drawing(path: Path) -> bool:
    """Return whether ``save_drawing`` wrote the file."""
    try:
        with Image.open(path) as image:
            return image.info.get("Software") == SOFTWARE
    except (OSError, ValueError, SyntaxError):  # raised by Pillow for other files
        return False


class _Page:
    """Collects what is drawn from top to bottom, in pixels from the upper left corner."""

    def __init__(self, cell: int, columns: int) -> None:
        self.cell, self.gap = cell, max(6, round(cell * 0.05))
        self.size = max(11, round(cell * 0.045))  # of the font
        cells = columns * (cell + self.gap) - self.gap
        self.width = max(cells, _MIN_WIDTH) + 2 * self.gap
        self.left = (self.width - cells) // 2
        self.height = self.gap
        self.images: list[tuple[int, int, Image.Image]] = []
        self.frames: list[tuple[int, int, int, int]] = []
        self.texts: list[tuple[str, float, float, float, str]] = []

    def add_text(self, text: str, scale: float, color: str = BLACK) -> None:
        """Add a centered paragraph below what is there."""
        size = max(10, round(self.size * scale))
        if lines := _wrap(text, self.width - 2 * self.gap, size):
            self._put(lines, self.width / 2, self.height, size, color)
            self.height += round(len(lines) * size * _LINE) + self.gap

    def add_row(self, row: Row) -> None:
        """Add cells, centered within the height of the tallest, with their labels below."""
        panels = [cell for cell in row if isinstance(cell, Panel)]
        sizes = [panel.image.size for panel in panels if panel.image]
        empty = sizes[0] if sizes else (self.cell, self.cell * 3 // 4)  # of a frame
        words = [_wrap(_text_of(cell), self.cell, self.size) for cell in row]
        text = round(max(map(len, words)) * self.size * _LINE)
        tallest = max([height for _, height in sizes] or [empty[1]]) if panels else text
        middle, space = self.height + tallest / 2, self.gap // 3
        for column, (cell, lines) in enumerate(zip(row, words, strict=True)):
            center = self.left + column * (self.cell + self.gap) + self.cell / 2
            if not isinstance(cell, Panel):
                self._put(lines, center, middle - len(lines) * self.size * _LINE / 2, self.size)
                continue
            width, height = cell.image.size if cell.image else empty
            x, y = round(center - width / 2), round(middle - height / 2)
            if cell.image:
                self.images.append((x, y, cell.image))
            else:
                self.frames.append((x, y, width, height))
                self._put([cell.note], center, middle - self.size / 2, self.size, GRAY)
            self._put(lines, center, self.height + tallest + space, self.size)
        self.height += tallest + (text + space if panels else 0) + self.gap

    def _put(
        self, lines: Sequence[str], x: float, top: float, size: float, color: str = BLACK
    ) -> None:
        for number, line in enumerate(lines):
            baseline = top + size + number * size * _LINE
            self.texts.append((line, x, baseline, size, color))

    def render(self) -> Image.Image:
        """Draw everything."""
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle
        from matplotlib.transforms import IdentityTransform

        pixels = IdentityTransform()
        with drawing_style():
            # At 72 dots per inch, a point is a pixel; the small part is lost when it is rounded.
            size = ((self.width + 0.01) / 72, (self.height + 0.01) / 72)
            figure = Figure(figsize=size, dpi=72, facecolor="white")
            for x, top, image in self.images:
                bottom = self.height - top - image.height
                figure.figimage(np.asarray(image), x, bottom, origin="upper")
            for x, top, width, height in self.frames:
                corner = (x, self.height - top - height + 1)
                frame = Rectangle(corner, width - 1, height - 1, fill=False, edgecolor=LIGHT)
                frame.set_transform(pixels)
                figure.add_artist(frame)
            for line, center, baseline, points, color in self.texts:
                text = figure.text(center, self.height - baseline, line, ha="center", size=points)
                text.set(transform=pixels, color=color)
            return render(figure)


def _wrap(text: str, width: float, size: float) -> list[str]:
    """Break a text into lines of about ``width`` pixels in a font of ``size``."""
    characters = max(1, int(width / (_CHARACTER * size)))
    return [
        line for paragraph in text.splitlines() for line in textwrap.wrap(paragraph, characters)
    ]


def _text_of(cell: Panel | str | None) -> str:
    return cell.label if isinstance(cell, Panel) else cell or ""


def _fit(cell: Panel | str, width: int, enlarge: float) -> Panel | str:
    """Return a panel with its image at the size in which it is drawn, inset included."""
    if isinstance(cell, str) or cell.image is None:
        return cell
    image = cell.image
    scale = min(width / image.width, enlarge)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    return replace(cell, image=_with_inset(image, cell.inset) if cell.inset else image)


def _with_inset(image: Image.Image, inset: Image.Image) -> Image.Image:
    """Put a small image with a white border into the lower left corner."""
    image = image.copy()
    scale = min(
        image.width * _INSET_WIDTH / inset.width, image.height * _INSET_HEIGHT / inset.height
    )
    size = max(1, round(inset.width * scale)), max(1, round(inset.height * scale))
    border = max(1, round(image.width * 0.006))
    top = image.height - size[1]
    image.paste("white", (0, top - border, size[0] + border, image.height))
    image.paste(inset.resize(size, Image.Resampling.LANCZOS), (0, top))
    return image
