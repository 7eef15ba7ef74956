"""The content of the web page as plain values for its script."""

import base64
import io
import math
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from nst_exp.report.axes import Sheet
from nst_exp.report.entries import Report, ReportRow
from nst_exp.report.images import input_file, open_image, snapshots, subsample
from nst_exp.report.tradeoff import TradeOff
from nst_exp.results.losses_csv import COLUMNS, LOSSES, NAME, read_losses

PIXELS = 12e6  # of all results in a page, which is then about 8 MB large
SNAPSHOT_PIXELS = 8e6
INPUT_PIXELS = 4e6
LOSSLESS_PIXELS = 2.5e6  # so few are encoded without loss
POINTS = 240  # of a curve; a screen shows no more
_SIDE, _SNAPSHOT_SIDE = 512, 192

_PLAIN = ("number", "label", "losses", "metrics", "error", "notes", "command")

Key = TypeVar("Key", bound=Hashable)


def page_data(
    report: Report,
    settings: str,
    sheets: Sequence[Sheet],
    tradeoff: TradeOff | None,
    target: Path,
) -> dict[str, Any]:
    """Return what ``page.js`` receives: numbers, texts (not escaped) and images.

    Paths are relative to ``target``, the folder of the page, if they are below it.
    """
    paths = {row.number: row.image for row in report.rows if row.image}
    lossless = len(paths) * _SIDE**2 <= LOSSLESS_PIXELS
    images = encode(paths, _SIDE, PIXELS, lossless)
    frames = _snapshots(report.rows)
    places = {row.number: place for place, row in enumerate(report.rows)}
    inputs = _inputs(report.rows)
    input_images = encode(
        {key: path for key, (_, path) in inputs.items() if path}, _SIDE, INPUT_PIXELS
    )
    return {
        "title": report.title,
        "settings": settings,
        "varied": report.varied,
        "losses": list(LOSSES),
        "metrics": report.metrics,
        "lossless": lossless,
        "curveColumns": list(COLUMNS),
        "inputs": [
            {"name": name, "path": path and _shown(path, target), "image": input_images.get(key)}
            for key, (name, path) in inputs.items()
        ],
        "jobs": [
            {
                **{name: getattr(row, name) for name in _PLAIN},
                "status": row.run.status,
                "values": [row.values[key] for key in report.varied],
                "seconds": row.measured.get("seconds"),
                "evaluations": row.measured.get("evaluations"),
                "image": images.get(row.number),
                "path": row.image and _shown(row.image, target),
                "folder": _shown(row.run.path, target),
                "inputs": [list(inputs).index(key) for key in _input_keys(row)],
                "snapshots": frames.get(row.number, []),
                "curve": _curve(row.run.path),
            }
            for row in report.rows
        ],
        "sheets": [
            {
                "title": sheet.title,
                "columns": sheet.columns,
                "rows": sheet.row_names,
                "cells": [
                    [places[job.number] if job else -1 for job in jobs] for jobs in sheet.cells
                ],
            }
            for sheet in sheets
        ],
        "tradeoff": tradeoff
        and {
            "x": f"{tradeoff.kind}:{tradeoff.names[0]}",
            "y": f"{tradeoff.kind}:{tradeoff.names[1]}",
            "front": [places[number] for number in tradeoff.front],
        },
    }


def _input_keys(row: ReportRow) -> list[tuple[str, str]]:
    """Return kind and hash of each input of a job."""
    return [(kind, entry["sha256"]) for kind, entry in row.run.record.get("inputs", {}).items()]


def _inputs(rows: Sequence[ReportRow]) -> dict[tuple[str, str], tuple[str, Path | None]]:
    """Return name and file of each different input; None if the file has changed."""
    found: dict[tuple[str, str], tuple[str, Path | None]] = {}
    for row in rows:
        for key in _input_keys(row):
            if key not in found:
                kind, path = key[0], Path(row.run.input(key[0])["path"])
                found[key] = f"{kind}: {path.stem}", input_file(row.run, kind)
    return found


def _shown(path: Path, target: Path) -> str:
    path, target = path.absolute(), target.absolute()
    return (path.relative_to(target) if path.is_relative_to(target) else path).as_posix()


def _snapshots(rows: Sequence[ReportRow]) -> dict[int, list[tuple[int, str]]]:
    """Return steps and snapshots of all jobs, fewer of each if there are many jobs."""
    most = 16 if len(rows) <= 24 else 5
    paths = {
        (row.number, step): path
        for row in rows
        for step, path in subsample(snapshots(row.run.path), most)
    }
    found: dict[int, list[tuple[int, str]]] = {}
    for (number, step), uri in encode(paths, _SNAPSHOT_SIDE, SNAPSHOT_PIXELS).items():
        found.setdefault(number, []).append((step, uri))
    return found


def encode(
    paths: Mapping[Key, Path], side: int, pixels: float, lossless: bool = False
) -> dict[Key, str]:
    """Encode image files as ``data:`` URIs; files that cannot be read are left out.

    Images have at most ``side`` pixels on a side and ``pixels`` pixels together.
    """
    side = min(side, max(16, int(math.sqrt(pixels / max(1, len(paths))))))
    found = {}
    for key, path in paths.items():
        if image := open_image(path, side):
            stream = io.BytesIO()
            image.save(stream, "WEBP", lossless=lossless, quality=50 if lossless else 90, method=2)
            data = base64.b64encode(stream.getvalue()).decode()
            found[key] = f"data:image/webp;base64,{data}"
    return found


def _curve(folder: Path) -> list[list[float | None]]:
    """Return rows with the digits that a curve can show; JSON has no infinities."""
    rows = subsample(read_losses(folder / NAME), POINTS)
    return [[float(f"{x:.5g}") if math.isfinite(x) else None for x in row] for row in rows]
