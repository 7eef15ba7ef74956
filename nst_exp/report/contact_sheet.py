"""Draw a contact sheet: the results of a sweep, arranged by the values that vary."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from PIL import Image

from nst_exp.report.axes import Sheet
from nst_exp.report.grid import Panel, Row, draw_grid

MAX_ENLARGEMENT = 2.0  # of a small image


def draw_sheet(
    title: str,
    settings: str,
    sheet: Sheet,
    results: Mapping[int, Panel],
    inputs: Sequence[Panel] = (),
) -> Image.Image:
    """Draw the results, by the jobs' numbers, below the content image and the style image."""
    rows: list[Row] = [inputs] if inputs else []
    names = sheet.row_names
    if sheet.columns:
        rows.append([*([""] if names else []), *sheet.columns])
    for number, jobs in enumerate(sheet.cells):
        panels = [
            replace(results[job.number], label=sheet.labels.get(job.number, "")) if job else None
            for job in jobs
        ]
        rows.append([*names[number : number + 1], *panels])
    heading = f"{title}: {sheet.title}" if sheet.title else title
    return draw_grid(rows, title=heading, caption=settings, enlarge=MAX_ENLARGEMENT)
