"""The images of a report: results, snapshots and the inputs that all jobs share."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image

from nst_exp.images import load_image
from nst_exp.report.entries import Report
from nst_exp.report.grid import Panel
from nst_exp.results.record import SAVED_INPUTS
from nst_exp.results.run_folder import RunFolder
from nst_exp.utils.errors import ConfigError
from nst_exp.utils.hashing import sha256_of

T = TypeVar("T")


def open_image(path: Path | None, side: int | None = None) -> Image.Image | None:
    """Load an image (RGB), reduced to ``side`` pixels; None if it is missing or damaged."""
    if path is None:
        return None
    try:
        image = load_image(path, key="report", max_megapixels=float("inf"), hint=side).image
    except ConfigError:
        return None
    if side is not None:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def result_panel(run: RunFolder, label: str, side: int | None = None) -> Panel:
    """Return a panel with the result of a finished run, else with a note on its state."""
    if run.status != "done":
        return Panel(label, None, "unfinished" if run.status == "running" else run.status)
    return Panel(label, open_image(run.image, side), "damaged" if run.image else "missing")


def snapshots(folder: Path) -> list[tuple[int, Path]]:
    """Return the snapshots of a run by rising steps."""
    paths = sorted(folder.glob(f"snapshots/step_{'[0-9]' * 6}.png"))
    return [(int(path.stem.removeprefix("step_")), path) for path in paths]


def input_file(run: RunFolder, kind: str) -> Path | None:
    """Return the input that a run saved, or the original file if it is unchanged."""
    original = Path(run.input(kind)["path"])
    unchanged = original.is_file() and sha256_of(original) == run.input(kind)["sha256"]
    return run.saved_input(kind) or (original if unchanged else None)


def shared_inputs(report: Report, side: int) -> list[Panel]:
    """Return panels of the content image and the style image where all jobs have the same one."""
    panels = []
    for kind in SAVED_INPUTS:
        runs = [row.run for row in report.rows if row.run.input(kind)]
        if len({run.input(kind)["sha256"] for run in runs}) == 1:
            run = next((run for run in runs if run.saved_input(kind)), runs[0])
            image = open_image(input_file(run, kind), side)
            label = f"{kind}: {Path(run.input(kind)['path']).stem}"
            panels.append(Panel(label, image, "not available"))
    return panels


def subsample(items: Sequence[T], most: int) -> list[T]:
    """Choose at most ``most`` (2 or more) items at even distances, with the first and the last."""
    if len(items) <= most:
        return list(items)
    last = len(items) - 1
    return [items[round(index * last / (most - 1))] for index in range(most)]
