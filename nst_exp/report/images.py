"""The images of a report: results, snapshots and the inputs that all jobs share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image

from nst_exp.images import LoadedImage, load_image
from nst_exp.report.entries import Report
from nst_exp.report.grid import Panel
from nst_exp.results.record import SAVED_INPUTS
from nst_exp.results.run_folder import RunFolder
from nst_exp.utils.errors import ConfigError

T = TypeVar("T")


def open_image(path: Path | None, side: int | None = None) -> Image.Image | None:
    """Load an image (RGB), reduced to ``side`` pixels; None if it is missing or damaged."""
    found = _load(path, side)
    return None if found is None else found.image


def result_panel(run: RunFolder, label: str, side: int | None = None) -> Panel:
    """Return a panel with the result of a finished run, else with a note on its state."""
    if run.status != "done":
        return Panel(label, None, "unfinished" if run.status == "running" else run.status)
    exists = run.image is not None and run.image.is_file()
    return Panel(label, open_image(run.image, side), "damaged" if exists else "missing")


def saved_input(run: RunFolder, kind: str, side: int | None = None) -> Image.Image | None:
    """Load the content image or style image as the run used it, if the run saved it."""
    saved = run.input(kind).get("copy") == SAVED_INPUTS[kind]
    return open_image(run.path / SAVED_INPUTS[kind], side) if saved else None


def snapshots(folder: Path) -> list[tuple[int, Path]]:
    """Return the snapshots of a run by rising steps."""
    found = []
    for path in (folder / "snapshots").glob("step_*.png"):
        if match := re.fullmatch(r"step_(\d+)\.png", path.name):
            found.append((int(match[1]), path))
    return sorted(found)


def shared_inputs(report: Report, side: int) -> list[Panel]:
    """Return panels of the content image and the style image where all jobs have the same one.

    The image is the one that a run saved, or the original file if it is unchanged.
    """
    panels = []
    for kind in SAVED_INPUTS:
        runs = [row.run for row in report.rows if "sha256" in row.run.input(kind)]
        hashes = {run.input(kind)["sha256"] for run in runs}
        if len(hashes) != 1:
            continue
        path = Path(str(runs[0].input(kind).get("path")))
        saved = (saved_input(run, kind, side) for run in runs)
        image = next((image for image in saved if image is not None), None)
        original = _load(path, side) if image is None else None
        if original is not None and original.sha256 in hashes:
            image = original.image
        note = "changed" if original is not None else "missing"
        panels.append(Panel(f"{kind}: {path.stem}", image, note))
    return panels


def subsample(items: Sequence[T], most: int) -> list[T]:
    """Choose at most ``most`` (2 or more) items at even distances, with the first and the last."""
    if len(items) <= most:
        return list(items)
    last = len(items) - 1
    return [items[round(index * last / (most - 1))] for index in range(most)]


def _load(path: Path | None, side: int | None) -> LoadedImage | None:
    if path is None or not path.is_file():
        return None
    try:
        found = load_image(path, key="report", max_megapixels=float("inf"), hint=side)
    except ConfigError:
        return None
    if side is not None:
        found.image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return found
