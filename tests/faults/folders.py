"""What the folder of a run holds, for comparison and for finding what is damaged.

The count of evaluations is left out of comparisons: L-BFGS begins with an evaluation that a run
which was not interrupted has at hand, and this one is counted too.
"""

from __future__ import annotations

import csv
import json
import logging
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PICTURES = ("*.png", "*.jpg", "snapshots/*.png")


@dataclass(frozen=True)
class Result:
    """What a finished run has made, in a form that can be compared exactly."""

    pixels: dict[str, bytes]  # of every picture, by name
    losses: dict[str, float]
    curve: list[list[str]]  # losses.csv
    points: list[tuple[str, int, str]]  # TensorBoard's, as it shows them
    status: str


def result_of(folder: Path) -> Result:
    """Read a finished run's folder."""
    record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    curve = folder / "losses.csv"
    return Result(
        pixels={
            str(path.relative_to(folder)): np.asarray(Image.open(path)).tobytes()
            for pattern in PICTURES
            for path in sorted(folder.glob(pattern))
        },
        losses=record.get("losses", {}),
        curve=_curve(curve.read_text(encoding="utf-8")) if curve.exists() else [],
        points=points_of(folder),
        status=record["status"],
    )


def points_of(folder: Path) -> list[tuple[str, int, str]]:
    """The points of TensorBoard's curves, those that it drops left out."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not list(folder.glob("events.out.tfevents.*")):
        return []
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of every purge
    events: Any = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return [
        (tag, event.step, repr(event.value))  # NaN is not equal to itself
        for tag in sorted(events.Tags()["scalars"])
        if tag != "progress/evaluations"
        for event in events.Scalars(tag)
    ]


def differences(found: Result, wanted: Result) -> list[str]:
    """In what two results differ; none for runs that are alike to the last bit."""
    names = (field.name for field in fields(Result))
    return [name for name in names if getattr(found, name) != getattr(wanted, name)]


def damaged(folder: Path) -> list[str]:
    """Files below the folder that are neither whole nor absent."""
    found: list[str] = []
    for path in sorted(folder.rglob("*")):
        name = path.name
        if not path.is_file() or name.startswith(".nst-"):  # unfinished, and named so
            continue
        try:
            if path.suffix in (".png", ".jpg"):
                with Image.open(path) as image:
                    image.load()
            elif path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".ckpt":
                import torch

                torch.load(path, map_location="cpu", weights_only=True)
            elif name == "losses.csv":
                _check_curve(path.read_text(encoding="utf-8"))
        except Exception as error:
            found.append(f"{path.relative_to(folder)}: {error}")
    return found


def leftovers(folder: Path) -> list[str]:
    """Temporary files below the folder."""
    return [str(path.relative_to(folder)) for path in folder.rglob(".nst-*")]


def _curve(text: str) -> list[list[str]]:
    return [[row[0], *row[2:]] for row in csv.reader(text.splitlines())]


def _check_curve(text: str) -> None:
    rows = list(csv.reader(text.splitlines()))
    if not text.endswith("\n") or any(len(row) != len(rows[0]) for row in rows):
        raise ValueError("a row is cut off")
