"""Write all files of a report."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from nst_exp.report.axes import Sheet, arrange
from nst_exp.report.contact_sheet import draw_sheet
from nst_exp.report.entries import Report, read_report
from nst_exp.report.grid import is_drawing, save_drawing
from nst_exp.report.html import GENERATOR, render_page
from nst_exp.report.html_data import page_data
from nst_exp.report.images import result_panel, shared_inputs
from nst_exp.report.settings import describe_settings
from nst_exp.report.table import as_csv
from nst_exp.report.tensorboard_summary import SUMMARY, write_summary
from nst_exp.report.tradeoff import TradeOff, draw_tradeoff, find_tradeoff
from nst_exp.utils.atomic_files import write_text_atomically
from nst_exp.utils.errors import OutputError

SHEET, TRADEOFF, TABLE, PAGE = "sheet.png", "tradeoff.png", "results.csv", "report.html"
_SIDE = 512  # of an image on a sheet
_SETTINGS = ("content", "style", "backbone", "size", "steps")


def write_report(folders: Sequence[Path], target: Path) -> list[Path]:
    """Write the report of sweeps, of single runs or of folders that hold them.

    The files are ``sheet.png``, or ``sheet_VALUES.png`` for each combination where three or more
    keys vary; ``tradeoff.png`` if two jobs or more can be compared; ``results.csv``;
    ``report.html``; and the folder ``_summary`` for TensorBoard. An earlier report is replaced.

    Returns:
        The paths.

    Raises:
        ConfigError: If a folder does not exist or holds no run.
        OutputError: If something cannot be written, or ``target`` holds files of these names and no
            report.
    """
    report = read_report(folders)
    sheets = arrange(report.rows, report.varied)
    tradeoff = find_tradeoff(report)
    names = [f"sheet_{sheet.name}.png" if sheet.name else SHEET for sheet in sheets]
    names += [TRADEOFF] if tradeoff else []
    paths = [target / name for name in (*names, TABLE, PAGE)]
    _check_replaceable(target, paths)
    target.mkdir(parents=True, exist_ok=True)
    settings = describe_settings([row.run for row in report.rows], _SETTINGS, report.varied)
    # The page comes first: it marks the folder as that of a report.
    data = page_data(report, settings, sheets, tradeoff, target)
    write_text_atomically(paths[-1], render_page(data))
    write_text_atomically(paths[-2], as_csv(report, tradeoff))
    for stale in {*target.glob("sheet*.png"), target / TRADEOFF} - set(paths):
        if is_drawing(stale):  # of a report with other keys
            stale.unlink()
    drawn = dict(zip(names, _draw(report, settings, sheets, tradeoff), strict=True))
    for name, drawing in drawn.items():
        save_drawing(drawing, target / name)
    images = {Path(name).stem: drawing for name, drawing in drawn.items()}
    write_summary(target / SUMMARY, report, images)
    return [*paths, target / SUMMARY]


def _check_replaceable(target: Path, paths: Sequence[Path]) -> None:
    """Refuse to replace files in a folder without an earlier report."""
    page = target / PAGE
    is_report = page.is_file() and GENERATOR in page.read_text("utf-8", "replace")[:1000]
    taken = [path for path in paths if path.exists()]
    if taken and not is_report:
        raise OutputError(
            f"{taken[0]}: exists and is not part of a report; move it away, or write the report "
            "elsewhere with python -m nst_exp.report FOLDER --out DIR"
        )


def _draw(
    report: Report, settings: str, sheets: Sequence[Sheet], tradeoff: TradeOff | None
) -> list[Image.Image]:
    """Draw the contact sheets and the trade-off plot."""
    results = {row.number: result_panel(row.run, row.label, _SIDE) for row in report.rows}
    sides = [max(panel.image.size) for panel in results.values() if panel.image]
    inputs = shared_inputs(report, max(sides, default=256))
    drawn = [draw_sheet(report.title, settings, sheet, results, inputs) for sheet in sheets]
    return [*drawn, draw_tradeoff(report, tradeoff, results)] if tradeoff else drawn
