"""Draw figures: runs whose config asks for it (``figure.title``) become labeled panels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from nst_exp.report.grid import Panel, draw_grid, is_drawing, save_drawing
from nst_exp.report.images import result_panel, saved_input
from nst_exp.report.settings import describe_settings
from nst_exp.results.record import SAVED_INPUTS
from nst_exp.results.run_folder import RunFolder, read_run_folder
from nst_exp.utils.errors import OutputError

NAME = "figure.png"


def write_figures(folders: Sequence[Path], target: Path) -> list[Path]:
    """Draw a figure for every title among the runs in ``folders``.

    One figure is written to ``target``, several beside it under names made from their titles, such
    as ``figure_3.png`` for "Figure 3".

    Returns:
        The files; none if no run asks for a figure.

    Raises:
        OutputError: If a file cannot be written, or exists and is not a drawing.
    """
    titles: dict[str, list[RunFolder]] = {}
    for run in map(read_run_folder, folders):
        if run.title:
            titles.setdefault(run.title, []).append(run)
    written: list[Path] = []
    for title, runs in titles.items():
        path = target if len(titles) == 1 else _name_of(title, target, written)
        if path.exists() and not is_drawing(path):
            raise OutputError(
                f"{path}: exists and is not a drawing of nst_exp; move it away, or write the "
                "figure elsewhere with python -m nst_exp.report FOLDER --out DIR"
            )
        save_drawing(draw_figure(runs), path)
        written.append(path)
    return written


def draw_figure(runs: Sequence[RunFolder]) -> Image.Image:
    """Draw runs as the panels of one figure.

    Title, columns, inputs and insets are those of the first run's config. A run without a finished
    image is an empty frame.
    """
    figure = runs[0].figure
    kinds = [kind for kind in figure.get("inputs") or [] if kind in SAVED_INPUTS]
    panels = [panel for kind in kinds for panel in _input_panels(runs, kind)]
    for run in runs:
        panel = result_panel(run, run.label)
        inset = saved_input(run, "style") if figure.get("inset") and panel.image else None
        panels.append(replace(panel, inset=inset))
    columns = max(1, int(figure.get("columns") or len(panels)))
    substitutions = [text for run in runs for text, _ in run.substitutions]
    caption = [describe_settings(runs, ("backbone", "size", "steps")), *substitutions]
    return draw_grid(
        [panels[start : start + columns] for start in range(0, len(panels), columns)],
        title=runs[0].title,
        caption="; ".join(dict.fromkeys(filter(None, caption))),
    )


def _input_panels(runs: Sequence[RunFolder], kind: str) -> list[Panel]:
    """Return a panel for each input that was used, the largest where sizes differ."""
    found: dict[str, Panel] = {}
    for run in runs:
        image, entry = saved_input(run, kind), run.input(kind)
        other = found.get(str(entry.get("sha256")))
        if image and not (other and other.image and other.image.width >= image.width):
            label = f"{kind}: {Path(str(entry.get('path'))).stem}"
            found[str(entry.get("sha256"))] = Panel(label, image)
    return list(found.values()) or [Panel(kind, None, "missing")]


def _name_of(title: str, target: Path, taken: Sequence[Path]) -> Path:
    """Return a path beside ``target`` for one of several figures."""
    slug = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")[:60] or "untitled"
    stem = slug if slug.startswith(target.stem) else f"{target.stem}_{slug}"
    path, number = target.with_stem(stem), 2
    while path in taken:
        path, number = target.with_stem(f"{stem}_{number}"), number + 1
    return path
