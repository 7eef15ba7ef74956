"""Contact sheets and the table for TensorBoard, beside the curves of the runs."""

import html
import io
import time
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from nst_exp.report.entries import Report
from nst_exp.report.table import as_cells


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
        encoded = io.BytesIO()
        image.save(encoded, "PNG")
        size = {"width": image.width, "height": image.height, "colorspace": 3}
        shown = Summary.Image(encoded_image_string=encoded.getvalue(), **size)
        summary = Summary(value=[Summary.Value(tag=name, image=shown)])
        writer.add_event(Event(wall_time=time.time(), step=0, summary=summary))
    text = text_pb("results", _markdown(report))
    writer.add_event(Event(wall_time=time.time(), step=0, summary=text))
    writer.close()


def _markdown(report: Report) -> str:
    header, *rows = as_cells(report)
    lines = [header, ["---"] * len(header), *rows]
    cells = [[html.escape(cell).replace("|", "&#124;") or " " for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
