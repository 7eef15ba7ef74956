"""Draw a contact sheet: the results of a sweep, arranged by the values that vary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image

from nst_exp.report.axes import Sheet
from nst_exp.report.entries import ReportRow
from nst_exp.report.grid import Panel, Row, draw_grid

MAX_ENLARGEMENT = 2.0  # of a small image
_NOTES = {"running": "unfinished", "done": "no image"}  # other states are shown as they are


def draw_sheet(
    title: str,
    settings: str,
    sheet: Sheet,
    images: Mapping[int, Image.Image],
    inputs: Sequence[Panel] = (),
) -> Image.Image:
    """Draw a contact sheet.

    Args:
        title: Title of the report.
        settings: Description of the settings that all jobs share.
        sheet: Arrangement of the jobs.
        images: Results (RGB) by the jobs' numbers; a job without one is an empty frame.
        inputs: Content image and style image, drawn above the results.
    """

    def panel(job: ReportRow | None) -> Panel | None:
        if job is None:
            return None
        note = _NOTES.get(job.run.status, job.run.status)
        return Panel(sheet.labels.get(job.number, ""), images.get(job.number), note)

    rows: list[Row] = [inputs] if inputs else []
    names = sheet.row_names
    if sheet.columns:
        rows.append([*([""] if names else []), *sheet.columns])
    for number, row in enumerate(sheet.cells):
        rows.append([*(names[number : number + 1]), *map(panel, row)])
    heading = f"{title}: {sheet.title}" if sheet.title else title
    return draw_grid(rows, title=heading, caption=settings, enlarge=MAX_ENLARGEMENT)
