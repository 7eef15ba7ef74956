"""What a run leaves in its folder, for comparison, and which of its files are damaged."""

import csv
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

TEMPORARY = ".nst-*"  # unfinished files are named so
Results = dict[str, dict[str, Any]]


def result_of(folder: Path) -> dict[str, Any]:
    """Return everything that must be the same in two equal runs: pixels, losses, curves, status.

    Not the count of evaluations: a resumed L-BFGS evaluates its point once more.
    """
    record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    result: dict[str, Any] = {name: record.get(name) for name in ("status", "losses", "warnings")}
    for path in [*folder.glob("*.png"), *folder.glob("snapshots/*.png")]:
        with Image.open(path) as image:
            result[str(path.relative_to(folder))] = np.asarray(image).tobytes()
    if (folder / "losses.csv").exists():
        rows = csv.DictReader((folder / "losses.csv").read_text(encoding="utf-8").splitlines())
        result["losses.csv"] = [{**row, "evaluations": ""} for row in rows]
    if list(folder.glob("events.out.tfevents.*")):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it logs every purge
        events: Any = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
        for tag in {*events.Tags()["scalars"]} - {"progress/evaluations"}:
            # As text, since NaN is not equal to itself.
            result[tag] = [(event.step, repr(event.value)) for event in events.Scalars(tag)]
    return result


def results_of(folder: Path) -> Results:
    """Return ``result_of`` the run in the folder, or of each job of the sweep there."""
    paths = [*folder.glob("result.json"), *folder.glob("*/result.json")]
    return {str(path.parent.relative_to(folder)): result_of(path.parent) for path in paths}


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return the names of what differs; none for runs that are equal to the last bit."""
    return [name for name in sorted({*found, *wanted}) if found.get(name) != wanted.get(name)]


def compare(place: Path, wanted: Results) -> list[str]:
    """Return what differs from the results of an undisturbed run or sweep, and what is left."""
    found = results_of(place)
    problems = [f"temporary file {path.name}" for path in place.rglob(TEMPORARY)]
    for job in sorted({*found, *wanted}):
        if names := differences(found.get(job, {}), wanted.get(job, {})):
            problems.append(f"{job} differs in {', '.join(names)}")
    return problems


def damaged(folder: Path) -> list[str]:
    """Return the files below the folder that are neither complete nor absent."""
    found: list[str] = []
    for path in sorted(folder.rglob("*")):
        try:
            if path.suffix == ".png":
                with Image.open(path) as image:
                    image.load()
            elif path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".ckpt":
                torch.load(path, weights_only=True)
            elif path.name == "losses.csv":
                text = path.read_text(encoding="utf-8")
                if text[-1] != "\n" or len({line.count(",") for line in text.splitlines()}) > 1:
                    raise ValueError("a row is cut off")
        except Exception as error:
            found.append(f"damaged: {path.relative_to(folder)}: {error}")
    return found
