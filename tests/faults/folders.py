"""What a run leaves in its folder, for comparison, and which of its files are damaged.

The count of evaluations is not compared: a resumed L-BFGS evaluates its point once more.
"""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TEMPORARY = ".nst-*"  # unfinished files are named so


def result_of(folder: Path) -> dict[str, Any]:
    """Return everything that must be the same in two equal runs: pixels, losses, curves, status."""
    record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    result: dict[str, Any] = {name: record.get(name) for name in ("status", "losses", "warnings")}
    for path in [*folder.glob("*.png"), *folder.glob("snapshots/*.png")]:
        with Image.open(path) as image:
            result[str(path.relative_to(folder))] = np.asarray(image).tobytes()
    if (folder / "losses.csv").exists():
        rows = csv.DictReader((folder / "losses.csv").read_text(encoding="utf-8").splitlines())
        result["losses.csv"] = [{**row, "evaluations": ""} for row in rows]
    return result | _points(folder)


def results_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Return ``result_of`` the run in the folder, or of each job of the sweep there."""
    if (folder / "result.json").exists():
        return {"": result_of(folder)}
    return {path.parent.name: result_of(path.parent) for path in folder.glob("*/result.json")}


def _points(folder: Path) -> dict[str, Any]:
    """Return the points of TensorBoard's curves, by tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not list(folder.glob("events.out.tfevents.*")):
        return {}
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it logs every purge
    events: Any = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: [(event.step, repr(event.value)) for event in events.Scalars(tag)]  # NaN != NaN
        for tag in events.Tags()["scalars"]
        if tag != "progress/evaluations"
    }


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return the names of what differs; none for runs that are equal to the last bit."""
    return [name for name in sorted({*found, *wanted}) if found.get(name) != wanted.get(name)]


def compare(place: Path, wanted: dict[str, dict[str, Any]]) -> list[str]:
    """Return what differs from the results of an undisturbed run or sweep, and what is left."""
    found = results_of(place)
    problems = [f"temporary file {path.name}" for path in place.rglob(TEMPORARY)]
    if found.keys() != wanted.keys():
        return [*problems, f"jobs {sorted(found)}"]
    for job, result in wanted.items():
        if names := differences(found[job], result):
            problems.append(f"{job} differs in {', '.join(names)}")
    return problems


def damaged(folder: Path) -> list[str]:
    """Return the files below the folder that are neither complete nor absent."""
    found: list[str] = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.match(TEMPORARY):
            continue
        try:
            _read(path)
        except Exception as error:
            found.append(f"damaged: {path.relative_to(folder)}: {error}")
    return found


def _read(path: Path) -> None:
    if path.suffix == ".png":
        with Image.open(path) as image:
            image.load()
    elif path.suffix == ".json":
        json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix == ".ckpt":
        import torch

        torch.load(path, map_location="cpu", weights_only=True)
    elif path.name == "losses.csv":
        text = path.read_text(encoding="utf-8")
        rows = list(csv.reader(text.splitlines()))
        if not text.endswith("\n") or any(len(row) != len(rows[0]) for row in rows):
            raise ValueError("a row is cut off")
