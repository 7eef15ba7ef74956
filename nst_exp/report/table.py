"""The table of a report: ``results.csv`` for programs, text for the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from nst_exp.report.entries import MEASURED, Report, ReportRow, read_report
from nst_exp.report.tradeoff import METRICS, TradeOff
from nst_exp.results.losses_csv import LOSSES

WIDTH = 100  # characters of the table on the terminal


def as_csv(report: Report, tradeoff: TradeOff | None) -> str:
    """Return ``results.csv``: one line per job; a value that is not known is empty.

    Losses are called ``style_loss``, since ``style`` may be a varied key. The column ``pareto``
    says whether a job is on the Pareto front of content and style.
    """
    stream = io.StringIO()
    names = ["number", "folder", "status", *report.varied]
    names += [*(f"{name}_loss" for name in LOSSES), *report.metrics, "pareto", *MEASURED, "error"]
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    several = len({row.source for row in report.rows}) > 1
    for row in report.rows:
        writer.writerow(_values(row, several, tradeoff))
    return stream.getvalue()


def _values(row: ReportRow, several: bool, tradeoff: TradeOff | None) -> dict[str, object]:
    values: dict[str, object] = dict(row.values)
    values |= {f"{name}_loss": value for name, value in row.losses.items()} | row.metrics
    for name, value in row.measured.items():
        values[name] = int(value) if value.is_integer() else value
    if tradeoff is not None and row.number in tradeoff.points:
        values["pareto"] = str(row.number in tradeoff.front).lower()
    base = row.source.absolute().parent if several else row.source.absolute()
    path = row.run.path.absolute()
    folder = path.name if path == base else str(path.relative_to(base))
    known = {"number": row.number, "folder": folder, "status": row.run.status, "error": row.error}
    return values | known


def table(folders: Sequence[Path]) -> str:
    """Return the jobs of sweeps or runs as lines of at most WIDTH characters.

    Raises:
        ConfigError: If a folder does not exist or holds no run.
    """
    report = read_report(folders)
    lines = as_cells(report)
    keys = len(report.varied)
    limit = max(8, (WIDTH - 50) // max(1, keys))
    limits = [10, *[limit] * keys, 11, *[12] * 4, 40]
    lines = [[_cut(cell, most) for cell, most in zip(line, limits, strict=False)] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numeric = {0, *range(2 + keys, 6 + keys)}
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place in numeric else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()[:WIDTH]
        for line in lines
    )


def as_cells(report: Report) -> list[list[str]]:
    """Return a header and a line per job: number, values, status, main numbers, error.

    Distances to content and style are shown instead of losses if they were measured.
    """
    measured = all(name in report.metrics for name in METRICS)
    names = ["content dist", "style dist"] if measured else ["content", "style"]
    lines = [["", *report.varied, "status", "total", *names, "seconds", "error"]]
    for row in report.rows:
        values = [row.losses.get("total")]
        values += (
            [row.metrics.get(name) for name in METRICS]
            if measured
            else [row.losses.get("content"), row.losses.get("style")]
        )
        seconds = row.measured.get("seconds")
        lines.append(
            [
                str(row.number),
                *(" ".join(row.values.get(key, "").split()) for key in report.varied),
                row.run.status,
                *("" if value is None else f"{value:.3e}" for value in values),
                "" if seconds is None else f"{seconds:.1f}",
                *(row.error.strip().splitlines()[:1] or [""]),
            ]
        )
    if not any(line[-1] for line in lines[1:]):
        lines = [line[:-1] for line in lines]
    return lines


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
