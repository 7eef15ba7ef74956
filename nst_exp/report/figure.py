"""Draw figures: runs whose config asks for it (``figure.title``) become labeled panels."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from nst_exp.report.grid import Panel, draw_grid, is_drawing, save_drawing
from nst_exp.report.images import open_image, result_panel
from nst_exp.report.settings import describe_settings, file_name
from nst_exp.results.run_folder import RunFolder, read_run_folder
from nst_exp.utils.errors import OutputError


def write_figures(folders: Sequence[Path], target: Path) -> list[Path]:
    """Draw a figure for every title among the runs in ``folders``.

    One figure becomes ``figure.png`` in the folder ``target``; several have names made from their
    titles, such as ``figure_3.png`` for "Figure 3".

    Returns:
        The files; none if no run asks for a figure.

    Raises:
        OutputError: If a file cannot be written, or exists and is not a drawing.
    """
    titles: dict[str, list[RunFolder]] = {}
    for run in map(read_run_folder, folders):
        if title := run.figure.get("title"):
            titles.setdefault(title, []).append(run)
    names: list[str] = []
    for title in titles:
        text = title.lower() if title.lower().startswith("figure") else f"figure_{title.lower()}"
        names.append(file_name(text if len(titles) > 1 else "figure", names))
    paths = [target / f"{name}.png" for name in names]
    for path, runs in zip(paths, titles.values(), strict=True):
        if path.exists() and not is_drawing(path):
            raise OutputError(
                f"{path}: exists and is not a drawing of nst_exp; move it away, or write the "
                "figure elsewhere with python -m nst_exp.report FOLDER --out DIR"
            )
        save_drawing(draw_figure(runs), path)
    return paths


def draw_figure(runs: Sequence[RunFolder]) -> Image.Image:
    """Draw runs as the panels of one figure.

    Title, columns, inputs and insets are those of the first run's config. A run without a finished
    image is an empty frame.
    """
    figure = runs[0].figure
    panels = [panel for kind in figure["inputs"] for panel in _input_panels(runs, kind)]
    for run in runs:
        panel = result_panel(run, run.label)
        inset = open_image(run.saved_input("style")) if figure["inset"] else None
        panels.append(replace(panel, inset=inset))
    columns = figure["columns"]
    caption = [describe_settings(runs, ("backbone", "size", "steps"))]
    for run in runs:
        for entry in run.record.get("substituted", []):
            asked, used, _ = entry.values()
            caption.append(f"{used} instead of {asked}")
    return draw_grid(
        [panels[start : start + columns] for start in range(0, len(panels), columns)],
        title=figure["title"],
        caption="; ".join(dict.fromkeys(filter(None, caption))),
    )


def _input_panels(runs: Sequence[RunFolder], kind: str) -> list[Panel]:
    """Return a panel for each input that was used, the largest where sizes differ."""
    images = [(image, run) for run in runs if (image := open_image(run.saved_input(kind)))]
    images.sort(key=lambda pair: pair[0].width)
    found: dict[str, Panel] = {}
    for image, run in images:
        label = f"{kind}: {Path(run.input(kind)['path']).stem}"
        found[run.input(kind)["sha256"]] = Panel(label, image)
    return list(found.values()) or [Panel(kind, None, "missing")]
