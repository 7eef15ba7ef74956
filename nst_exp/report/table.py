"""The table of a report: ``results.csv`` for programs, text for the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from nst_exp.report.entries import LOSSES, Entry, Report

WIDTH = 100  # characters of the table on the terminal
_MEASURED = ("seconds", "evaluations", "width", "height")
_SHOWN = {"content": "content_distance", "style": "style_distance"}  # metrics that are preferred


def columns(report: Report) -> list[str]:
    """The header of ``results.csv``; losses are ``style_loss``, for ``style`` may be a key."""
    return [name for name, _ in _header(report)]


def as_csv(report: Report) -> str:
    """One line per job, quoted where needed; empty where a value is not known."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    header = _header(report)
    writer.writerow([name for name, _ in header])
    several = len({entry.source for entry in report.entries}) > 1
    for entry in report.entries:
        row = _values(entry) | {("job", "folder"): _folder(entry, several)}
        writer.writerow([row.get(place, "") for _, place in header])
    return stream.getvalue()


def _header(report: Report) -> list[tuple[str, tuple[str, str]]]:
    """Pairs of the word above a column and where its values are."""
    first = [(name, ("job", name)) for name in ("number", "folder", "status")]
    found = [*first, *((key, ("key", key)) for key in report.varied)]
    found += [(f"{name}_loss", ("loss", name)) for name in LOSSES]
    found += [(name, ("metric", name)) for name in report.metrics]
    found += [(name, ("measured", name)) for name in _MEASURED]
    return [*found, ("error", ("job", "error"))]


def _folder(entry: Entry, several: bool) -> str:
    """Below the sweep's folder, or beside it where there are several."""
    if entry.folder == entry.source:
        return entry.folder.absolute().name
    below = entry.folder.relative_to(entry.source)
    return str(entry.source.absolute().name / below if several else below)


def _values(entry: Entry) -> dict[tuple[str, str], object]:
    row: dict[tuple[str, str], object] = {
        ("job", "number"): entry.number,
        ("job", "status"): entry.status,
        ("job", "error"): entry.error,
    }
    row |= {("key", key): value for key, value in entry.values.items()}
    row |= {("loss", name): value for name, value in entry.losses.items()}
    row |= {("metric", name): value for name, value in entry.metrics.items()}
    for name in _MEASURED:
        if (value := entry.number_of(name)) is not None:
            row["measured", name] = int(value) if value.is_integer() else value
    return row


def as_text(report: Report) -> str:
    """The jobs in lines of WIDTH characters at most: what varied, how it ended, what came out."""
    lines = as_cells(report)
    keys = len(report.varied)
    right = {0, *range(2 + keys, 6 + keys)}
    widths = _widths(lines, range(1, 1 + keys), 6 + keys)
    return "\n".join(
        "  ".join(
            _cut(text, width).rjust(width) if place in right else _cut(text, width).ljust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()[:WIDTH]
        for line in lines
    )


def as_cells(report: Report) -> list[list[str]]:
    """The header and a line per job: number, what varied, status, the main numbers, the error."""
    measured = {name: _SHOWN[name] for name in _SHOWN if _SHOWN[name] in report.metrics}
    names = ("total", "content", "style")
    words = [f"{name} dist" if name in measured else name for name in names]
    lines = [["", *report.varied, "status", *words, "seconds", "error"]]
    for entry in report.entries:
        error = entry.error.strip().splitlines()[:1]
        lines.append(
            [
                str(entry.number),
                *(" ".join(entry.values.get(key, "").split()) for key in report.varied),
                entry.status,
                *(
                    _shown(entry.metrics.get(measured[n]) if n in measured else entry.losses.get(n))
                    for n in names
                ),
                "" if (seconds := entry.number_of("seconds")) is None else f"{seconds:.1f}",
                *(error or [""]),
            ]
        )
    if not any(line[-1] for line in lines[1:]):
        lines = [line[:-1] for line in lines]
    return lines


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.3e}"


def _widths(lines: Sequence[Sequence[str]], keys: range, error: int) -> list[int]:
    """Of the columns: where they do not fit, the longest key is cut first, and the error."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    if error < len(widths):
        widths[error] = min(widths[error], 40)

    def over() -> int:
        return sum(widths) + 2 * (len(widths) - 1) - WIDTH

    while over() > 0:
        shrinkable = [place for place in (*keys, error) if place < len(widths)]
        longest = max(shrinkable, key=lambda place: widths[place], default=0)
        if not shrinkable or widths[longest] <= 3:
            break  # a sweep of very many keys
        widths[longest] -= 1
    return widths


def _cut(text: str, width: int) -> str:
    """The end is left out and this is shown; folders and errors differ at the beginning."""
    return text if len(text) <= width else text[: width - 1] + "…"
