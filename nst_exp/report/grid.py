"""Draw a grid of labeled images: used by contact sheets, figures and the trade-off plot."""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps
from PIL.PngImagePlugin import PngInfo

from nst_exp.utils.atomic_files import write_bytes_atomically

MAX_WIDTH = 4000  # pixels of a drawing
MIN_CELL = 160  # pixels; a label below a thumbnail must stay readable
SOFTWARE = "nst_exp report"  # in the file: only drawings are replaced by drawings
BLACK, GRAY, LIGHT = "#141414", "#7d7d7d", "#bebebe"

_MIN_WIDTH = 480  # pixels of a title's line
_INSET_WIDTH, _INSET_HEIGHT = 0.28, 0.6  # largest share of the panel that an inset takes
_LINE, _CHARACTER = 1.3, 0.62  # height and mean width of text, in units of the font's size


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
        than their cell.
    """
    images = [cell.image for row in rows for cell in row if isinstance(cell, Panel) and cell.image]
    widest = max((image.width for image in images), default=MIN_CELL)
    columns = max(map(len, rows))
    cell = min(max(round(widest * enlarge), MIN_CELL), int(MAX_WIDTH / (1.06 * columns + 0.06)))
    gap, size = max(6, round(cell * 0.05)), max(11, round(cell * 0.045))
    cells = columns * (cell + gap) - gap
    width = max(cells, _MIN_WIDTH)
    left = gap + (width - cells) // 2
    rows = [[_fit(item, cell, enlarge) for item in row] for row in rows]
    parts = [
        (gap, _draw_text(title, width, round(size * 1.5))),
        *((left, _draw_row(row, cell, gap, size)) for row in rows),
        (gap, _draw_text(caption, width, max(10, round(size * 0.85)), GRAY)),
    ]
    parts = [(x, part) for x, part in parts if part.height]
    height = gap + sum(part.height + gap for _, part in parts)
    drawing = Image.new("RGB", (width + 2 * gap, height), "white")
    top = gap
    for x, part in parts:
        drawing.paste(part, (x, top))
        top += part.height + gap
    return drawing


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


def _fit(item: Panel | str | None, width: int, enlarge: float) -> Panel | str | None:
    """Return a panel with its image at the size in which it is drawn, inset included."""
    if not isinstance(item, Panel) or item.image is None:
        return item
    factor = min(width / item.image.width, enlarge)
    image = ImageOps.scale(item.image, factor, Image.Resampling.LANCZOS)
    if item.inset:
        box = round(image.width * _INSET_WIDTH), round(image.height * _INSET_HEIGHT)
        inset = ImageOps.contain(item.inset, box, Image.Resampling.LANCZOS)
        border, top = max(1, round(image.width * 0.006)), image.height - inset.height
        image.paste("white", (0, top - border, inset.width + border, image.height))
        image.paste(inset, (0, top))
    return replace(item, image=image)


def _draw_row(row: Row, cell: int, gap: int, size: int) -> Image.Image:
    """Draw cells, centered within the height of the tallest, with their labels below."""
    images = [item.image for item in row if isinstance(item, Panel) and item.image]
    frame = images[0].size if images else (cell, cell * 3 // 4)
    contents, labels = [], []
    for item in row:
        if isinstance(item, Panel):
            contents.append(item.image or _draw_frame(item.note, frame, size))
            labels.append(_draw_text(item.label, cell, size))
        else:
            contents.append(_draw_text(item or "", cell, size))
            labels.append(_draw_text("", cell, size))
    tallest, text = (max(part.height for part in parts) for parts in (contents, labels))
    space = gap // 3 if text else 0
    drawing = Image.new("RGB", (len(row) * (cell + gap), tallest + space + text), "white")
    for number, (content, label) in enumerate(zip(contents, labels, strict=True)):
        left, top = number * (cell + gap), (tallest - content.height) // 2
        drawing.paste(content, (left + (cell - content.width) // 2, top))
        drawing.paste(label, (left, tallest + space))
    return drawing


def _draw_frame(note: str, size: tuple[int, int], points: int) -> Image.Image:
    frame = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(frame)
    draw.rectangle((0, 0, frame.width - 1, frame.height - 1), outline=LIGHT)
    draw.text((frame.width / 2, frame.height / 2), note, GRAY, _font(points), anchor="mm")
    return frame


def _draw_text(text: str, width: int, size: int, color: str = BLACK) -> Image.Image:
    """Draw a centered paragraph in a font of ``size`` pixels; of height 0 without text."""
    characters = max(1, int(width / (_CHARACTER * size)))
    lines = [line for part in text.splitlines() for line in textwrap.wrap(part, characters)]
    drawing = Image.new("RGB", (width, round(len(lines) * size * _LINE)), "white")
    draw = ImageDraw.Draw(drawing)
    for number, line in enumerate(lines):
        draw.text((width / 2, number * size * _LINE), line, color, _font(size), anchor="ma")
    return drawing


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib as mpl  # its fonts come with it

    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)
