"""Arrange jobs on contact sheets: the varied keys become rows, columns and sheets."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from nst_exp.report.entries import ReportRow
from nst_exp.report.settings import file_name, number

MAX_COLUMNS = 32  # of a grid; jobs with more values are wrapped
_ROW = 8  # images in a wrapped row; more if there are very many


@dataclass(frozen=True)
class Sheet:
    """The arrangement of one contact sheet."""

    name: str  # part of its file's name; empty for the only sheet
    title: str  # values that all its jobs have
    columns: list[str]  # headers; empty for wrapped rows, whose cells have labels
    row_names: list[str]  # headers; empty if there is one row
    cells: list[list[ReportRow | None]]  # row by row; None if there is no such job
    labels: dict[int, str]  # below a cell, by the job's number


def arrange(jobs: Sequence[ReportRow], varied: Sequence[str]) -> list[Sheet]:
    """Arrange jobs by the ``varied`` keys that differ.

    With at most one key, jobs form a row, which is wrapped if it is long; with two, a grid, the key
    with more values across. With more keys, the two with the most values span the grid, and there
    is a sheet for each combination of the others. Jobs that would fill less than half of a grid or
    share a cell form wrapped rows.

    Returns:
        The sheets; none if there are no jobs.
    """
    if not jobs:
        return []
    values = {key: ordered(job.values[key] for job in jobs) for key in varied}
    differing = [key for key in varied if len(values[key]) > 1]
    by_count = sorted(differing, key=lambda key: -len(values[key]))  # stable: ties as given
    inside = sorted(by_count[:2], key=lambda key: (len(values[key]), differing.index(key)))
    outside = [key for key in differing if key not in inside]
    sheets: list[Sheet] = []
    for chosen in product(*(values[key] for key in outside)):
        fixed = dict(zip(outside, chosen, strict=True))
        own = [job for job in jobs if all(job.values[k] == v for k, v in fixed.items())]
        if own:
            taken = [sheet.name for sheet in sheets]
            name = file_name("_".join(chosen), taken) if chosen else ""
            title = ", ".join(f"{key}={value}" for key, value in fixed.items())
            sheets.append(_grid(name, title, own, inside) or _rows(name, title, own, inside))
    return sheets


def _grid(name: str, title: str, jobs: list[ReportRow], inside: list[str]) -> Sheet | None:
    """Arrange jobs by two keys; None if there are fewer keys or the jobs do not fit."""
    if len(inside) != 2:
        return None
    down, across = inside
    rows, columns = (ordered(job.values[key] for job in jobs) for key in inside)
    if len(columns) > MAX_COLUMNS or 2 * len(jobs) < len(rows) * len(columns):
        return None
    cells: list[list[ReportRow | None]] = [[None] * len(columns) for _ in rows]
    for job in jobs:
        row, column = rows.index(job.values[down]), columns.index(job.values[across])
        if cells[row][column] is not None:
            return None
        cells[row][column] = job
    headers = [f"{across}={value}" for value in columns]
    return Sheet(name, title, headers, [f"{down}={value}" for value in rows], cells, {})


def _rows(name: str, title: str, jobs: list[ReportRow], inside: list[str]) -> Sheet:
    """Arrange jobs in rows, in the order of their values."""
    spread = {key: ordered(job.values[key] for job in jobs) for key in inside}

    def places(job: ReportRow) -> list[int]:
        return [spread[key].index(job.values[key]) for key in inside]

    in_order = sorted(jobs, key=lambda job: (places(job), job.number))
    width = max(_ROW, math.isqrt(len(jobs)))
    cells = [list[ReportRow | None](in_order[n : n + width]) for n in range(0, len(jobs), width)]
    labels = {
        job.number: ", ".join(f"{key}={job.values[key]}" for key in inside) or job.run.label
        for job in jobs
    }
    return Sheet(name, title, [], [], cells, labels)


def ordered(values: Iterable[str]) -> list[str]:
    """Order different values: numbers by size, then other texts as given."""
    numbers = {text: number(text) for text in values}
    return sorted(numbers, key=lambda text: (numbers[text] is None, numbers[text] or 0.0))
