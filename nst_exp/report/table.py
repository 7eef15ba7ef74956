"""The table of a report: ``results.csv`` for programs, text for the terminal."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from nst_exp.report.entries import MEASURED, Report, read_report
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
        base = row.source.parent if several or row.run.path == row.source else row.source
        values: dict[str, object] = {**row.values, **row.metrics, **row.measured}
        values |= {f"{name}_loss": value for name, value in row.losses.items()}
        values |= {"number": row.number, "status": row.run.status, "error": row.error}
        values["folder"] = row.run.path.absolute().relative_to(base.absolute())
        if tradeoff is not None and row.number in tradeoff.points:
            values["pareto"] = str(row.number in tradeoff.front).lower()
        writer.writerow(values)
    return stream.getvalue()


def table(folders: Sequence[Path]) -> str:
    """Return the jobs of sweeps or runs as lines of at most WIDTH characters.

    Raises:
        ConfigError: If a folder does not exist or holds no run.
    """
    report = read_report(folders)
    lines = as_cells(report, limit=max(8, (WIDTH - 50) // max(1, len(report.varied))))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [map(str.ljust, line, widths) for line in lines]
    return "\n".join("  ".join(line)[:WIDTH].rstrip() for line in padded)


def as_cells(report: Report, limit: int | None = None) -> list[list[str]]:
    """Return a header and a line per job: number, values, status, main numbers, error.

    Values are cut off after ``limit`` characters. Distances to content and style are shown instead
    of losses if they were measured.
    """
    measured = all(name in report.metrics for name in METRICS)
    shown = ["content dist", "style dist"] if measured else ["content", "style"]
    lines = [["", *report.varied, "status", "total", *shown, "seconds", "error"]]
    for row in report.rows:
        values, names = (row.metrics, METRICS) if measured else (row.losses, LOSSES[1:3])
        numbers = [row.losses.get("total"), *map(values.get, names)]
        seconds = row.measured.get("seconds")
        lines.append(
            [
                str(row.number),
                *(" ".join(value.split())[:limit] for value in row.values.values()),
                row.run.status,
                *("" if value is None else f"{value:.3e}" for value in numbers),
                "" if seconds is None else f"{seconds:.1f}",
                row.error.partition("\n")[0],
            ]
        )
    return lines if any(row.error for row in report.rows) else [line[:-1] for line in lines]
