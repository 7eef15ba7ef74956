"""Contact sheets and the table for TensorBoard, beside the curves of the runs."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from nst_exp.report.entries import Report
from nst_exp.report.table import as_cells

_MAX_WIDTH = 2000  # pixels of an image


def write_summary(folder: Path, report: Report, images: Mapping[str, Image.Image]) -> None:
    """Write a run of TensorBoard into ``folder``; an earlier one there is replaced."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.summary_v2 import text_pb
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    for path in folder.glob("events.out.tfevents.*"):
        path.unlink()
    writer = EventFileWriter(str(folder))
    for name, image in images.items():
        small = image.copy()
        small.thumbnail((_MAX_WIDTH, image.height))
        encoded = io.BytesIO()
        small.save(encoded, "PNG")
        size = {"width": small.width, "height": small.height, "colorspace": 3}
        shown = Summary.Image(encoded_image_string=encoded.getvalue(), **size)
        summary = Summary(value=[Summary.Value(tag=name, image=shown)])
        writer.add_event(Event(wall_time=time.time(), step=0, summary=summary))
    text = text_pb("results", _markdown(report))
    writer.add_event(Event(wall_time=time.time(), step=0, summary=text))
    writer.close()


def _markdown(report: Report) -> str:
    header, *rows = as_cells(report)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def _escaped(text: str) -> str:
    for char in "\\|<*_`[":
        text = text.replace(char, f"&#{ord(char)};")
    return " ".join(text.split()) or " "
