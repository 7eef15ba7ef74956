"""What TensorBoard shows of a whole sweep, beside the curves of its jobs."""

import html
import io
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from nst_exp.config.schema import Config
from nst_exp.config.serialize import config_as_dict, flat
from nst_exp.report.entries import Report
from nst_exp.report.table import as_cells

SUMMARY = "_summary"  # TensorBoard's run of a whole sweep
# Hyperparameters of every run; those that vary come before them.
USUAL_KEYS = (
    *("content", "style", "alpha", "beta", "steps", "size", "seed"),
    *("backbone.name", "init.kind", "optimizer.kind", "optimizer.lr"),
)
# The metrics of HPARAMS. Those that can be compared between any two runs come first.
METRIC_TAGS = (
    *("metrics/content_distance", "metrics/style_distance", "metrics/ssim"),
    *("metrics/color_distance", "metrics/total_variation", "metrics/sharpness"),
    *("saved/total", "saved/content", "saved/style"),
)
_SHEETS = "all jobs/"  # tags of images, first in the alphabet among those of a run


def write_summary(folder: Path, report: Report, images: Mapping[str, Image.Image]) -> None:
    """Write contact sheets, table and columns into ``folder``; an earlier summary is replaced."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.summary_v2 import text_pb

    summaries = [columns(report.varied), text_pb("results", _markdown(report))]
    for name, image in images.items():
        encoded = io.BytesIO()
        image.save(encoded, "PNG")
        size = {"width": image.width, "height": image.height, "colorspace": 3}
        shown = Summary.Image(encoded_image_string=encoded.getvalue(), **size)
        summaries.append(Summary(value=[Summary.Value(tag=_SHEETS + name, image=shown)]))
    _write_events(folder, summaries)


def start_summary(folder: Path, varied: Collection[str]) -> None:
    """Write the columns of HPARAMS for a sweep whose jobs are about to start."""
    _write_events(folder, [columns(varied)])


def columns(varied: Collection[str], usual: Iterable[str] = USUAL_KEYS) -> Any:
    """Return the summary that says which hyperparameters and metrics HPARAMS shows.

    TensorBoard reads it from one run for all of them.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    defaults = flat(config_as_dict(Config()))
    kinds = {bool: api_pb2.DATA_TYPE_BOOL, int: api_pb2.DATA_TYPE_FLOAT64}
    kinds[float] = api_pb2.DATA_TYPE_FLOAT64

    def describe(key: str) -> Any:
        kind = kinds.get(type(defaults.get(key)), api_pb2.DATA_TYPE_STRING)
        return api_pb2.HParamInfo(name=key, differs=key in varied, type=kind)

    experiment = api_pb2.Experiment(
        hparam_infos=map(describe, dict.fromkeys((*varied, *usual))),
        metric_infos=[api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in METRIC_TAGS],
    )
    content = metadata.create_summary_metadata(
        plugin_data_pb2.HParamsPluginData(experiment=experiment)
    )
    entry = {"tag": metadata.EXPERIMENT_TAG, "metadata": content, "tensor": metadata.NULL_TENSOR}
    return Summary(value=[Summary.Value(**entry)])


def _write_events(folder: Path, summaries: Sequence[Any]) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    for path in folder.glob("events.out.tfevents.*"):
        path.unlink()
    writer = EventFileWriter(str(folder))
    for summary in summaries:
        writer.add_event(Event(wall_time=time.time(), step=0, summary=summary))
    writer.close()


def _markdown(report: Report) -> str:
    header, *rows = as_cells(report)
    lines = [header, ["---"] * len(header), *rows]
    cells = [[html.escape(cell).replace("|", "&#124;") or " " for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
