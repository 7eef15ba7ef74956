"""The sheets and the table for TensorBoard, beside the curves of the single runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from nst_exp.report.entries import Report
from nst_exp.report.table import as_cells

_EVENTS = "events.out.tfevents.*"
_WIDEST = 2000  # pixels of a sheet; the whole one is in its file


def write_summary(folder: Path, report: Report, sheets: Sequence[tuple[Path, Image.Image]]) -> None:
    """Write a run of TensorBoard's into ``folder``; an earlier one there is replaced."""
    from torch.utils.tensorboard import SummaryWriter  # torch comes in here

    for path in folder.glob(_EVENTS):
        path.unlink()
    with SummaryWriter(str(folder)) as writer:
        for path, sheet in sheets:
            small = sheet.copy()
            small.thumbnail((_WIDEST, sheet.height))
            writer.add_image(path.stem, np.asarray(small), 0, dataformats="HWC")
        writer.add_text("results", _markdown(report), 0)


def _markdown(report: Report) -> str:
    header, *rows = as_cells(report)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def _escaped(text: str) -> str:
    for char in "\\|<*_`[":
        text = text.replace(char, f"&#{ord(char)};")
    return " ".join(text.split()) or " "
