"""The drawing of a contact sheet: pictures under the values that made them; Pillow only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from nst_exp.report.axes import Grid
from nst_exp.report.entries import Entry
from nst_exp.report.grid import BLACK, GRAY, empty, font, lines_height, put_lines, wrap

MAX_WIDTH = 4000  # pixels of a whole sheet
MAX_HEIGHT = 12000
MAX_ENLARGEMENT = 2  # of a small picture
_MIN_CELL, _MAX_CELL = 256, 512  # as long as the sheet stays within its measures
_AREA = 8e6  # pixels of all cells together, so that a large sheet is still opened quickly
_TALLEST = 4 / 3  # height of a cell, of its width
_NARROWEST = 640  # a title has to fit
# In an empty frame; other states are words for a person as they are.
_WORDS = {"running": "unfinished", "done": "no picture"}


@dataclass(frozen=True)
class Thumb:
    """A picture (RGB) that all jobs share, with a word; or why there is none."""

    name: str
    picture: Image.Image | None
    note: str = ""


@dataclass(frozen=True)
class _Sizes:
    cell: int
    gap: int
    text: int  # sizes of the fonts
    title: int
    small: int
    side: int  # width of the rows' headers, with the gap; 0 for none

    def width(self, columns: int) -> int:
        inner = self.side + columns * (self.cell + self.gap) - self.gap
        return max(inner, min(_NARROWEST, MAX_WIDTH - 2 * self.gap)) + 2 * self.gap


def draw_sheet(
    title: str,
    settings: str,
    grid: Grid,
    pictures: dict[int, Image.Image],
    thumbs: Sequence[Thumb] = (),
) -> Image.Image:
    """The sheet, RGB on white, MAX_WIDTH wide at most.

    ``pictures`` (RGB) by the jobs' numbers; a job without one has an empty frame with its status.
    Above stand ``title``, the values that hold for the whole sheet and ``settings``, beside the
    ``thumbs``. Every picture is reduced to its cell or enlarged MAX_ENLARGEMENT times at most.
    Equal arguments give equal pixels.
    """
    count = max(map(len, grid.cells))
    sizes = _sizes(grid, pictures, count)
    shown = [
        [_cell(entry, pictures, sizes) if entry else None for entry in row] for row in grid.cells
    ]
    frame = _frame([image for row in shown for image in row if image], sizes.cell)
    finished = [
        [
            image or (empty(_WORDS.get(e.status, e.status), frame, sizes.text) if e else None)
            for image, e in zip(images, row, strict=True)
        ]
        for images, row in zip(shown, grid.cells, strict=True)
    ]
    below = [[_below(entry, grid, sizes) if entry else [] for entry in row] for row in grid.cells]
    across = [wrap(text, font(sizes.text), sizes.cell) for text in grid.columns]
    beside = [wrap(text, font(sizes.text), sizes.side - sizes.gap) for text in grid.rows]

    width = sizes.width(count)
    head = _head(title, grid.title, settings, thumbs, width - 2 * sizes.gap, sizes)
    top = sizes.gap + head.height + sizes.gap
    starts = top + max((lines_height(lines, sizes.text) for lines in across), default=0)
    starts += sizes.gap // 2 if across else 0
    tops, height = [], starts
    for row, images in enumerate(finished):
        tops.append(height)
        tallest = max((image.height for image in images if image), default=frame[1])
        words = max(lines_height(lines, sizes.text) for lines in below[row])
        height += tallest + words + sizes.gap

    sheet = Image.new("RGB", (width, height), "white")
    sheet.paste(head, (sizes.gap, sizes.gap))
    pen = ImageDraw.Draw(sheet)
    for column, lines in enumerate(across):
        middle = sizes.gap + sizes.side + column * (sizes.cell + sizes.gap) + sizes.cell / 2
        bottom = starts - sizes.gap // 2 - lines_height(lines, sizes.text)
        put_lines(pen, lines, middle, bottom, sizes.text, BLACK)
    for row, images in enumerate(finished):
        tallest = max((image.height for image in images if image), default=frame[1])
        if beside:
            middle = tops[row] + (tallest - lines_height(beside[row], sizes.text)) / 2
            put_lines(pen, beside[row], sizes.gap, middle, sizes.text, BLACK, "la")
        for column, drawn in enumerate(images):
            if drawn is None:
                continue
            left = sizes.gap + sizes.side + column * (sizes.cell + sizes.gap)
            at = (
                left + (sizes.cell - drawn.width) // 2,
                tops[row] + (tallest - drawn.height) // 2,
            )
            sheet.paste(drawn, at)
            under = tops[row] + tallest + sizes.text // 4
            put_lines(pen, below[row][column], left + sizes.cell / 2, under, sizes.text, BLACK)
    return sheet


def _sizes(grid: Grid, pictures: dict[int, Image.Image], count: int) -> _Sizes:
    """The widest cells with which the sheet keeps within its measures."""
    widest = max((image.width for image in pictures.values()), default=_MIN_CELL)
    cells = sum(map(len, grid.cells))
    cell = min(max(widest, _MIN_CELL), _MAX_CELL, round(math.sqrt(_AREA / cells)))
    cell = max(cell, 16)
    while True:
        text = max(11, min(22, round(cell * 0.06)))
        gap = max(4, round(cell * 0.05))
        side = 0
        if grid.rows:
            longest = max(font(text).getlength(row) for row in grid.rows)
            side = min(math.ceil(longest) + 1, max(80, cell)) + gap
        found = _Sizes(cell, gap, text, round(text * 1.5), max(11, round(text * 0.85)), side)
        # Labels below take a few lines each; what they really take hardly matters here.
        height = len(grid.cells) * (cell * _TALLEST + gap + 3 * text)
        if (found.width(count) <= MAX_WIDTH and height <= MAX_HEIGHT) or cell <= 16:
            return found
        cell -= max(1, cell // 50)


def _cell(entry: Entry, pictures: dict[int, Image.Image], sizes: _Sizes) -> Image.Image | None:
    picture = pictures.get(entry.number)
    return None if picture is None else fitted(picture, sizes.cell, round(sizes.cell * _TALLEST))


def fitted(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The picture within these measures, enlarged MAX_ENLARGEMENT times at most."""
    scale = min(width / picture.width, height / picture.height, MAX_ENLARGEMENT)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)


def _frame(images: Sequence[Image.Image], cell: int) -> tuple[int, int]:
    return images[0].size if images else (cell, cell * 3 // 4)


def _below(entry: Entry, grid: Grid, sizes: _Sizes) -> list[str]:
    return wrap(grid.labels.get(entry.number, ""), font(sizes.text), sizes.cell)


def _head(
    title: str, values: str, settings: str, thumbs: Sequence[Thumb], width: int, sizes: _Sizes
) -> Image.Image:
    """The inputs at the left, the words beside them; ``width`` pixels wide."""
    side = round(max(60, min(140, sizes.cell * 0.4)))
    pictures = [
        fitted(thumb.picture, side, side)
        if thumb.picture
        else empty(thumb.note, (side, side * 3 // 4), sizes.small)
        for thumb in thumbs
    ]
    left = sum(max(picture.width, side // 2) + sizes.gap for picture in pictures)
    room = max(width - left, 40)
    written = [
        (wrap(title, font(sizes.title), room), sizes.title, BLACK),
        (wrap(values, font(sizes.text), room), sizes.text, BLACK),
        (wrap(settings, font(sizes.small), room), sizes.small, GRAY),
    ]
    words = sum(lines_height(lines, size) for lines, size, _ in written)
    caption = round(sizes.small * 1.4)
    tallest = max((picture.height for picture in pictures), default=0)
    head = Image.new("RGB", (width, max(words, tallest + caption if thumbs else 0, 1)), "white")
    pen = ImageDraw.Draw(head)
    x = 0
    for thumb, picture in zip(thumbs, pictures, strict=True):
        head.paste(picture, (x, tallest - picture.height))
        put_lines(pen, [thumb.name], x, tallest + sizes.small // 4, sizes.small, GRAY, "la")
        x += max(picture.width, side // 2) + sizes.gap
    y = (head.height - words) // 2 if words < head.height else 0
    for lines, size, color in written:
        put_lines(pen, lines, left, y, size, color, "la")
        y += lines_height(lines, size)
    return head
