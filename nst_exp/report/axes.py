"""Which job goes where on a contact sheet: the varied keys become rows, columns and sheets."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from nst_exp.report.entries import Entry

MOST_COLUMNS = 32  # of a grid; more values than that are wrapped
ROW = 8  # pictures in a row that is wrapped, as long as there are not very many


@dataclass(frozen=True)
class Grid:
    """One sheet. ``cells`` goes row by row; None where no job was asked for."""

    name: str  # "" for the only sheet, else of its file
    title: str  # the values that hold for the whole sheet
    columns: list[str]  # headers; empty for a row that is wrapped, where cells have labels
    rows: list[str]  # headers; empty if there is one row
    cells: list[list[Entry | None]]
    labels: dict[int, str]  # below a cell, by the job's number

    @property
    def entries(self) -> list[Entry]:
        """All jobs of the sheet, row by row."""
        return [entry for row in self.cells for entry in row if entry is not None]


def grids(entries: Sequence[Entry], varied: Sequence[str]) -> list[Grid]:
    """The sheets on which ``entries`` are shown, by the ``varied`` keys that really differ.

    No key or one: a row, wrapped where it is long. Two: a grid, the key with more values across.
    More: the two with the most values across and down, and a sheet for each combination of the
    others. Jobs that would fill less than half of their grid, or share a cell, go into a wrapped
    row. Empty for no entries.
    """
    if not entries:
        return []
    values = {key: ordered(entry.values.get(key, "") for entry in entries) for key in varied}
    differing = [key for key in varied if len(values[key]) > 1]
    by_count = sorted(differing, key=lambda key: -len(values[key]))  # stable: ties as given
    inside = sorted(by_count[:2], key=lambda key: (len(values[key]), differing.index(key)))
    outside = [key for key in differing if key not in inside]
    found: list[Grid] = []
    names: set[str] = set()
    for chosen in product(*(values[key] for key in outside)):
        fixed = dict(zip(outside, chosen, strict=True))
        own = [e for e in entries if all(same(e.values[k], v) for k, v in fixed.items())]
        if not own:
            continue
        name = _free("_".join(map(slug, chosen)), names)
        names.add(name)
        title = ", ".join(f"{key} = {value}" for key, value in fixed.items())
        found.append(_grid(name, title, own, inside, differing))
    return found


def _grid(
    name: str, title: str, entries: list[Entry], inside: list[str], differing: list[str]
) -> Grid:
    spread = {key: ordered(entry.values[key] for entry in entries) for key in inside}
    if len(inside) == 2:
        down, across = inside
        cells: list[list[Entry | None]] = [[None] * len(spread[across]) for _ in spread[down]]
        fits = len(spread[across]) <= MOST_COLUMNS
        fits &= 2 * len(entries) >= len(spread[down]) * len(spread[across])
        for entry in entries:
            row = _place(spread[down], entry.values[down])
            column = _place(spread[across], entry.values[across])
            fits &= cells[row][column] is None
            cells[row][column] = entry
        if fits:
            columns = [f"{across} = {value}" for value in spread[across]]
            return Grid(name, title, columns, [f"{down} = {v}" for v in spread[down]], cells, {})
    places = {e.number: [_place(spread[k], e.values[k]) for k in inside] for e in entries}
    in_order = sorted(entries, key=lambda e: (places[e.number], e.number))
    width = row_length(len(in_order))
    rows: list[list[Entry | None]] = [
        list(in_order[start : start + width]) for start in range(0, len(in_order), width)
    ]
    labels = {entry.number: _label(entry, inside, differing) for entry in entries}
    return Grid(name, title, [], [], rows, labels)


def _label(entry: Entry, inside: list[str], differing: list[str]) -> str:
    if not differing:
        return re.sub(r"^\d+_", "", entry.folder.absolute().name)
    return ", ".join(f"{key} = {entry.values[key]}" for key in inside)


def row_length(count: int) -> int:
    """Pictures per row, so that all rows are about equally long: 12 are two rows of six."""
    most = max(ROW, math.ceil(math.sqrt(count)))
    return math.ceil(count / math.ceil(count / most))


def ordered(values: Iterable[str]) -> list[str]:
    """Different values: numbers by size, then other texts as they come; 5 and 5.0 are one."""
    texts = list(dict.fromkeys(values))
    first: dict[float | str, str] = {}
    for text in texts:
        value = number(text)
        first.setdefault(text if value is None else value, text)
    by_size = sorted(key for key in first if isinstance(key, float))
    return [first[key] for key in by_size] + [first[k] for k in first if isinstance(k, str)]


def number(text: str) -> float | None:
    """The number that a text is; None for other texts."""
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf", text.strip()):
        return None
    return float(text)


def same(one: str, other: str) -> bool:
    """Whether two texts are one value."""
    return one == other or (number(one) is not None and number(one) == number(other))


def _place(values: Sequence[str], value: str) -> int:
    return next(index for index, other in enumerate(values) if same(other, value))


def slug(value: str) -> str:
    """A value in a file's name, safe on any system."""
    return re.sub(r"[^\w=.,+-]+", "-", value).strip(".-")[:60] or "none"


def _free(name: str, taken: set[str]) -> str:
    lowered = {other.lower() for other in taken}  # there are systems that see no difference
    free, count = name, 2
    while free.lower() in lowered:
        free, count = f"{name}_{count}", count + 1
    return free
