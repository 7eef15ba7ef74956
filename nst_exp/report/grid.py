"""The drawing of a figure: a title, labeled panels in columns, a line of settings; Pillow only."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

MAX_WIDTH = 3000  # pixels of a whole figure
MIN_CELL = 160  # pixels; a label below a thumbnail must stay readable
INSET = 0.28  # width of the picture in the corner, as a share of the panel's
INSET_HEIGHT = 0.6  # and the most that it may take of the panel's height

_SPACING = 0.045  # between cells and around all, as a share of a cell's width
_LINE = 1.3  # height of a line, in units of the font's size
BLACK, GRAY, _FRAME = (20, 20, 20), (125, 125, 125), (190, 190, 190)

# The font that comes with Pillow has little beyond ASCII.
_SPELT = {"α": "alpha", "β": "beta", "×": "x", "−": "-", "–": "-", "—": "-", "ß": "ss"}
_SPELT |= {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "≤": "<=", "≥": ">="}

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Panel:
    """A picture (RGB) with its words, or a word in the place of the picture."""

    label: str
    picture: Image.Image | None
    note: str = ""  # in an empty frame, where there is no picture
    inset: Image.Image | None = None


@dataclass(frozen=True)
class Geometry:
    """The measures of a figure in pixels."""

    columns: int
    cell: int  # width of every cell
    gap: int  # between cells, and around everything
    label: int  # sizes of the fonts
    title: int
    small: int

    @property
    def width(self) -> int:
        """Of the whole figure."""
        return self.columns * self.cell + (self.columns + 1) * self.gap


def geometry(widest: int, columns: int) -> Geometry:
    """Measures for panels of which the widest has ``widest`` pixels, MAX_WIDTH at most in all."""
    cell = min(max(widest, MIN_CELL), MAX_WIDTH // columns)
    while True:
        label = max(11, round(cell * 0.042))
        gap = max(8, round(cell * _SPACING))
        found = Geometry(columns, cell, gap, label, round(label * 1.5), max(10, round(label * 0.8)))
        if found.width <= MAX_WIDTH or cell == 1:
            return found
        cell -= 1


def draw(title: str, panels: Sequence[Panel], columns: int, settings: str) -> Image.Image:
    """The figure, RGB on white: ``panels`` row by row in ``columns`` columns, 1 or more.

    Every cell is as wide as the widest panel (MIN_CELL at least) and, within a row, as high as the
    highest; a panel is centerd in its cell and reduced to fit, never enlarged. ``title`` and
    ``settings`` may be empty. Equal arguments give equal pixels. Raises ValueError if there are no
    panels.
    """
    if not panels:
        raise ValueError("a figure needs panels")
    pictures = [panel.picture for panel in panels if panel.picture is not None]
    widest = max((picture.width for picture in pictures), default=2 * MIN_CELL)
    sizes = geometry(widest, min(max(1, columns), len(panels)))
    finished = [_finished(panel, sizes.cell) for panel in panels]
    shape = next((image.size for image in finished if image), (sizes.cell, sizes.cell * 3 // 4))
    shown = [
        image or empty(panel.note, shape, sizes.label)
        for image, panel in zip(finished, panels, strict=True)
    ]
    labels = [wrap(panel.label, font(sizes.label), sizes.cell) for panel in panels]
    inner = sizes.width - 2 * sizes.gap
    heading = wrap(title, font(sizes.title), inner)
    footing = wrap(settings, font(sizes.small), inner)
    rows = [slice(start, start + sizes.columns) for start in range(0, len(panels), sizes.columns)]

    space = sizes.gap // 3  # between a panel and its label
    height = sizes.gap
    if heading:
        height += lines_height(heading, sizes.title) + sizes.gap * 3 // 4
    tops = []
    for row in rows:
        tops.append(height)
        height += max(image.height for image in shown[row])
        height += space + max(lines_height(lines, sizes.label) for lines in labels[row]) + sizes.gap
    if footing:
        height += lines_height(footing, sizes.small) + sizes.gap // 2

    figure = Image.new("RGB", (sizes.width, height), "white")
    pen = ImageDraw.Draw(figure)
    put_lines(pen, heading, sizes.width / 2, sizes.gap, sizes.title, BLACK)
    for row, top in zip(rows, tops, strict=True):
        tallest = max(image.height for image in shown[row])
        for column, (image, lines) in enumerate(zip(shown[row], labels[row], strict=True)):
            left = sizes.gap + column * (sizes.cell + sizes.gap)
            figure.paste(
                image, (left + (sizes.cell - image.width) // 2, top + (tallest - image.height) // 2)
            )
            middle = left + sizes.cell / 2
            put_lines(pen, lines, middle, top + tallest + space, sizes.label, BLACK)
    bottom = height - sizes.gap // 2 - lines_height(footing, sizes.small)
    put_lines(pen, footing, sizes.width / 2, bottom, sizes.small, GRAY)
    return figure


@cache
def font(size: int) -> Font:
    """The font that comes with Pillow."""
    return ImageFont.load_default(size)


def wrap(text: str, face: Font, width: int) -> list[str]:
    """Lines no wider than ``width`` pixels, broken at spaces, inside a word only where one must.

    Line ends in ``text`` stay. A character that alone is wider has a line of its own.
    """
    lines: list[str] = []
    for paragraph in _drawable(text.strip()).splitlines():
        line = ""
        # A word with the space before it; "x = 1" is one word.
        for word in re.findall(r"\s*\S+(?: = \S+)?", paragraph):
            if face.getlength(line + word) <= width:
                line += word
                continue
            if line:
                lines.append(line)
            line = word.strip()
            while len(line) > 1 and face.getlength(line) > width:
                fits = max(
                    (n for n in range(1, len(line)) if face.getlength(line[:n]) <= width),
                    default=1,
                )
                lines.append(line[:fits])
                line = line[fits:]
        lines.append(line.strip())
    return lines


def _drawable(text: str) -> str:
    """The text in characters that the font has: spelt out, without accents, or ``?``."""
    return "".join(
        char if char == "\n" or _has(char) else _SPELT.get(char) or _plain(char) for char in text
    )


def _plain(char: str) -> str:
    base = "".join(c for c in unicodedata.normalize("NFKD", char) if not unicodedata.combining(c))
    return base if base and all(map(_has, base)) else "?"


@cache
def _has(char: str) -> bool:
    if " " <= char <= "~":
        return True
    face = font(20)
    return bytes(face.getmask(char)) != bytes(face.getmask("\uffff"))  # drawn as a box


def lines_height(lines: Sequence[str], size: int) -> int:
    """Of ``lines`` in a font of this size, in pixels."""
    return round(len(lines) * size * _LINE)


def put_lines(
    pen: ImageDraw.ImageDraw,
    lines: Sequence[str],
    x: float,
    top: float,
    size: int,
    color: tuple[int, int, int],
    anchor: str = "ma",
) -> None:
    """Write ``lines`` from ``top`` on, centerd on ``x``; to the right of it with anchor "la"."""
    for number, line in enumerate(lines):
        # From the upper end of the letters, so that accents do not move the line.
        at = (x, top + round(number * size * _LINE))
        pen.text(at, line, fill=color, font=font(size), anchor=anchor)


def _finished(panel: Panel, cell: int) -> Image.Image | None:
    """The picture, reduced to the cell's width where it is wider, with the inset in its corner."""
    if panel.picture is None:
        return None
    picture = panel.picture.copy()
    if picture.width > cell:
        height = max(1, round(picture.height * cell / picture.width))
        picture = picture.resize((cell, height), Image.Resampling.LANCZOS)
    if panel.inset is not None:
        _put_inset(picture, panel.inset)
    return picture


def _put_inset(picture: Image.Image, inset: Image.Image) -> None:
    scale = min(picture.width * INSET / inset.width, picture.height * INSET_HEIGHT / inset.height)
    size = max(1, round(inset.width * scale)), max(1, round(inset.height * scale))
    border = max(1, round(picture.width * 0.006))
    top = picture.height - size[1]
    # The two sides that lie in the panel; outside, the paper is white.
    picture.paste((255, 255, 255), (0, top - border, size[0] + border, picture.height))
    picture.paste(inset.resize(size, Image.Resampling.LANCZOS), (0, top))


def empty(note: str, size: tuple[int, int], text: int) -> Image.Image:
    """A frame (width, height) with a word in it, in a font of ``text`` pixels."""
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, size[0] - 1, size[1] - 1), outline=_FRAME, width=max(1, text // 10))
    pen.text((size[0] / 2, size[1] / 2), note, fill=GRAY, font=font(text), anchor="mm")
    return image
