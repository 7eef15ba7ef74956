"""All files of a report, each put in the place of an earlier report's only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from nst_exp.report.axes import Grid, grids
from nst_exp.report.contact_sheet import draw_sheet
from nst_exp.report.drawings import drawn_by, save_drawing
from nst_exp.report.entries import Report, read_report
from nst_exp.report.html import GENERATOR, render
from nst_exp.report.html_data import page_data
from nst_exp.report.images import constant_settings, open_picture, shared_inputs
from nst_exp.report.table import as_csv, columns
from nst_exp.utils.atomic_files import write_text_atomically
from nst_exp.utils.errors import OutputError

SHEET, TABLE, PAGE = "sheet.png", "results.csv", "report.html"
SUMMARY = "_summary"  # TensorBoard's run of the whole sweep
_SIDE = 512  # of a picture on a sheet
_INPUT = 160  # of content and style on a sheet


def write_report(folders: Sequence[Path], target: Path) -> list[Path]:
    """Write the report of sweeps, of single runs or of folders of them into ``target``.

    The files: ``sheet.png``, or ``sheet_VALUES.png`` for each combination where three or more keys
    vary; ``results.csv``; ``report.html``; and the folder ``_summary`` for TensorBoard. Files of an
    earlier report are replaced. Returns the paths. Raises ConfigError for a folder that is not
    there or holds no run, and OutputError if something cannot be written or is there already and
    comes from elsewhere.
    """
    from nst_exp.report.tensorboard_summary import write_summary

    report = read_report(folders)
    sheets = grids(report.entries, report.varied)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{target}: cannot be made: {error.strerror}") from error
    paths = [target / (f"sheet_{grid.name}.png" if grid.name else SHEET) for grid in sheets]
    for path, ours in [
        *((path, drawn_by(path, GENERATOR)) for path in paths),
        (target / TABLE, _begins(target / TABLE, ",".join(columns(report)[:3]))),
        (target / PAGE, _begins(target / PAGE, f'<meta name="generator" content="{GENERATOR}">')),
    ]:
        if path.exists() and not ours:
            raise OutputError(
                f"{path}: is there already and comes from no report; move it away, or have the "
                "report elsewhere with python -m nst_exp.report FOLDER --out DIR"
            )
    drawn = _draw(report, sheets)
    for path, image in zip(paths, drawn, strict=True):
        save_drawing(image, path, GENERATOR)
    for stale in target.glob("sheet*.png"):  # of a report with other keys
        if stale not in paths and drawn_by(stale, GENERATOR):
            stale.unlink()
    write_text_atomically(target / TABLE, as_csv(report))
    write_text_atomically(target / PAGE, render(page_data(report, sheets)))
    write_summary(target / SUMMARY, report, list(zip(paths, drawn, strict=True)))
    return [*paths, target / TABLE, target / PAGE, target / SUMMARY]


def _draw(report: Report, sheets: Sequence[Grid]) -> list[Image.Image]:
    settings, thumbs = constant_settings(report), shared_inputs(report, _INPUT)
    drawn = []
    for grid in sheets:
        pictures = {
            entry.number: picture
            for entry in grid.entries
            if entry.status == "done" and (picture := open_picture(entry.picture, _SIDE))
        }
        drawn.append(draw_sheet(report.title, settings, grid, pictures, thumbs))
    return drawn


def _begins(path: Path, words: str) -> bool:
    """Whether these words stand near the beginning of a file, as in one of an earlier report."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return words in stream.read(1000)
    except OSError:
        return False
