"""Everything that the page shows, as plain values for its script."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nst_exp.report.axes import Grid
from nst_exp.report.data_uris import embedded
from nst_exp.report.entries import LOSSES, Report
from nst_exp.report.images import constant_settings, evenly, open_picture, snapshots
from nst_exp.results.losses_csv import COLUMNS, Row, read_losses
from nst_exp.results.losses_csv import NAME as CURVE

RESULTS_BUDGET = 8_000_000  # characters of the page
SNAPSHOTS_BUDGET = 5_000_000
POINTS = 240  # of a curve; a screen shows no more
_SNAPSHOT_SIDE = 192
_EVENTS = "events.out.tfevents.*"


def page_data(report: Report, sheets: Sequence[Grid]) -> dict[str, Any]:
    """What ``page.js`` is given: numbers, texts and pictures; all texts are still unescaped."""
    entries = report.entries
    pictures, coding = embedded(
        {
            entry.number: partial(open_picture, entry.picture)
            for entry in entries
            if entry.picture is not None
        },
        RESULTS_BUDGET,
    )
    most = 16 if len(entries) <= 24 else 10 if len(entries) <= 120 else 5
    paths = {
        (entry.number, step): path
        for entry in entries
        for step, path in evenly(list(snapshots(entry.folder).items()), most)
    }
    small, _ = embedded(
        {key: partial(open_picture, path) for key, path in paths.items()},
        SNAPSHOTS_BUDGET,
        _SNAPSHOT_SIDE,
    )
    frames: dict[int, list[tuple[int, str]]] = {}
    for (number, step), uri in small.items():
        frames.setdefault(number, []).append((step, uri))
    return {
        "title": report.title,
        "settings": constant_settings(report),
        "varied": report.varied,
        "losses": list(LOSSES),
        "metrics": report.metrics,
        "lossless": coding.quality is None,
        "curveColumns": list(COLUMNS),
        "jobs": [
            {
                "number": entry.number,
                "label": entry.label,
                "folder": str(entry.folder),
                "status": entry.status,
                "values": [entry.values[key] for key in report.varied],
                "losses": entry.losses,
                "metrics": entry.metrics,
                "seconds": entry.number_of("seconds"),
                "evaluations": entry.number_of("evaluations"),
                "error": entry.error,
                "notes": entry.notes,
                "command": entry.command,
                "picture": pictures.get(entry.number),
                "snapshots": frames.get(entry.number, []),
                "curve": [[_short(value) for value in row] for row in _curve(entry.folder)],
            }
            for entry in entries
        ],
        "sheets": [_sheet(grid, report) for grid in sheets],
    }


def _sheet(grid: Grid, report: Report) -> dict[str, Any]:
    """A grid with places in the list of jobs; -1 where nothing was asked for."""
    place = {id(entry): index for index, entry in enumerate(report.entries)}
    return {
        "title": grid.title,
        "columns": grid.columns,
        "rows": grid.rows,
        "cells": [[place[id(entry)] if entry else -1 for entry in row] for row in grid.cells],
    }


def _short(value: float) -> float | None:
    """A number with as many digits as a curve can show; JSON has no infinities."""
    rounded = float(f"{value:.5g}")
    return rounded if abs(rounded) < float("inf") else None


def _curve(folder: Path) -> list[Row]:
    rows = read_losses(folder / CURVE)
    if not rows and any(folder.glob(_EVENTS)):
        rows = _curve_of_events(folder)
    return evenly(rows, POINTS)


def _curve_of_events(folder: Path) -> list[Row]:
    """The same from TensorBoard's files, of a run that has left no losses.csv."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    nothing = {"images": 1, "tensors": 1, "histograms": 1, "compressedHistograms": 1, "audio": 1}
    events = EventAccumulator(str(folder), size_guidance={**nothing, "scalars": 0})
    events.Reload()
    tags = set(events.Tags()["scalars"])
    names = ["progress/evaluations", *(f"loss/{name}" for name in LOSSES)]
    if not {"loss/total", "loss/content", "loss/style"} <= tags:
        return []
    columns = {
        name: {point.step: point.value for point in events.Scalars(name)} if name in tags else {}
        for name in names
    }
    return [
        (step, *(columns[name].get(step, float("nan")) for name in names))
        for step in sorted(columns["loss/total"])
    ]
