"""The best compromises of a sweep: ``python -m nst_exp.report.pareto FOLDER``.

A job is on the front if no other one is nearer to both the content and the style picture.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from nst_exp.images import load_image
from nst_exp.report.drawings import drawn_by, save_drawing
from nst_exp.report.grid import Panel, draw
from nst_exp.results.run_folder import RunFolder, find_run_folders, read_run_folder
from nst_exp.results.sweep_plan import read_plan, values_of
from nst_exp.utils.atomic_files import write_text_atomically
from nst_exp.utils.errors import ConfigError, NstError, OutputError

__all__ = ["SHEET", "TABLE", "front", "main", "write_pareto"]

SHEET, TABLE = "pareto.png", "pareto.csv"
_SOFTWARE = "nst_exp pareto"  # in the file: only sheets made here are replaced
_COLUMNS = 6
METRICS = ("content_distance", "style_distance")
LOSSES = ("content", "style")


def distances(record: dict[str, Any], names: tuple[str, ...]) -> tuple[float, float] | None:
    """Return the values of two metrics or losses; None if not both are finite numbers."""
    values = record.get("metrics" if names == METRICS else "losses")
    found = [values.get(name) for name in names] if isinstance(values, dict) else []
    numbers = [float(v) for v in found if isinstance(v, int | float) and math.isfinite(v)]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The indices of the points that no other one dominates, by the first coordinate.

    A point dominates another if it is smaller in one coordinate and not larger in the other;
    equal points are on the front together, in their order. O(n log n). Coordinates are finite.
    """
    in_order = sorted(range(len(points)), key=lambda index: (points[index], index))
    found: list[int] = []
    for index in in_order:
        if (
            not found
            or points[index][1] < points[found[-1]][1]
            or points[index] == points[found[-1]]
        ):
            found.append(index)
    return found


@dataclass(frozen=True)
class _Point:
    job: RunFolder
    values: dict[str, str]  # of the keys that vary
    at: tuple[float, float]  # distances to content and style


def write_pareto(folder: Path, target: Path) -> list[Path]:
    """Write ``pareto.csv`` and ``pareto.png`` for the finished jobs in ``folder`` into ``target``.

    The distances are the metrics of those names if every finished job has them, else the losses.
    Returns the paths. Raises ConfigError if no job has finished, or the jobs cannot be compared,
    and OutputError if a file cannot be written, or is there already and was not made here.
    """
    names, points = _points(folder)
    best = [points[index] for index in front([point.at for point in points])]
    for path, ours in ((target / TABLE, _is_table), (target / SHEET, _is_sheet)):
        if path.exists() and not ours(path):
            raise OutputError(f"{path}: is there already and was not made here; move it away")
    write_text_atomically(target / TABLE, _as_csv(names, best))
    save_drawing(_sheet(folder, names, best, len(points)), target / SHEET, _SOFTWARE)
    return [target / TABLE, target / SHEET]


def _points(folder: Path) -> tuple[tuple[str, str], list[_Point]]:
    """Which two numbers are compared, and the jobs with them."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; give that of a sweep")
    jobs = [job for job in map(read_run_folder, find_run_folders(folder)) if job.status == "done"]
    if not jobs:
        raise ConfigError(f"{folder}: holds no finished run; give the folder of a sweep")
    metrics = all(distances(job.record, METRICS) for job in jobs)
    names = METRICS if metrics else LOSSES
    if not metrics and len({str(job.config.get("loss")) for job in jobs}) > 1:
        raise ConfigError(
            f"{folder}: its runs have different losses, whose numbers cannot be compared, and not "
            "all have metrics; run them with logging.metrics=true"
        )
    plan = read_plan(folder)
    keys = list(dict.fromkeys(key for job in plan.values() for key in job.values))
    points = []
    for job in jobs:
        planned = plan.get(job.path.name)
        values = planned.values if planned else values_of(job.overrides, keys)
        if at := distances(job.record, names):
            points.append(_Point(job, values, at))
    if not points:
        raise ConfigError(f"{folder}: no finished run there has both {' and '.join(names)}")
    return names, points


def _as_csv(names: tuple[str, str], best: Sequence[_Point]) -> str:
    keys = list(dict.fromkeys(key for point in best for key in point.values))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["job", *names, *keys])
    for point in best:
        values = [point.values.get(key, "") for key in keys]
        table.writerow([point.job.path.name, *map(repr, point.at), *values])
    return text.getvalue()


def _sheet(folder: Path, names: tuple[str, str], best: Sequence[_Point], count: int) -> Image.Image:
    """The pictures from the nearest to the content to the nearest to the style."""
    panels = [_panel(point) for point in best]
    title = f"{folder.absolute().name}: {len(best)} of {count} jobs are best compromises"
    what = "metrics" if names == METRICS else "losses"
    return draw(title, panels, _COLUMNS, f"content, style: the {what} {names[0]} and {names[1]}")


def _panel(point: _Point) -> Panel:
    words = ", ".join(f"{key} = {_short(value)}" for key, value in point.values.items())
    label = f"content {point.at[0]:.4g}, style {point.at[1]:.4g}\n{words or point.job.label}"
    path = point.job.path / str(point.job.config.get("image"))
    if not path.is_file():
        return Panel(label, None, "missing")
    try:
        return Panel(label, load_image(path, key="pareto", max_megapixels=float("inf")).image)
    except ConfigError:
        return Panel(label, None, "damaged")


def _short(value: str) -> str:
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value


def _is_sheet(path: Path) -> bool:
    return drawn_by(path, _SOFTWARE)


def _is_table(path: Path) -> bool:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            first = stream.read(200)
    except OSError:
        return False
    return any(first.startswith(f"job,{names[0]},{names[1]}") for names in (METRICS, LOSSES))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code. Writes pareto.csv and pareto.png into FOLDER, or DIR."""
    parser = argparse.ArgumentParser(
        prog="python -m nst_exp.report.pareto", description=main.__doc__
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of a sweep")
    parser.add_argument("--out", type=Path, metavar="DIR", help="another folder for the files")
    given = parser.parse_args(arguments)
    try:
        target = given.out or given.folder
        if given.out is not None:
            target.mkdir(parents=True, exist_ok=True)
        for path in write_pareto(given.folder, target):
            print(f"best compromises: {path}")
    except NstError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {given.out}: {error.strerror}", file=sys.stderr)
        return OutputError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
