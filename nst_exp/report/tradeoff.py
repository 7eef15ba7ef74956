"""The trade-off between content and style: which jobs are on the Pareto front, and the plot."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from PIL import Image, ImageOps

from nst_exp.report.entries import Report
from nst_exp.report.grid import BLACK, GRAY, LIGHT, Panel, draw_grid
from nst_exp.report.images import subsample

METRICS = ("content_distance", "style_distance")
LOSSES = ("content", "style")
_PANELS = 6  # images of the front below the plot
_LABELS = 40  # jobs whose numbers are written into the plot
_SIDE = 256  # of these images, in pixels
_DPI = 100


@dataclass(frozen=True)
class TradeOff:
    """The distances of the finished jobs to the content image and the style image."""

    kind: str  # metric or loss
    names: tuple[str, str]
    points: dict[int, tuple[float, float]]  # by the job's number
    front: list[int]  # numbers of jobs, from the nearest to the content to the nearest to the style


def find_tradeoff(report: Report) -> TradeOff | None:
    """Compare the finished jobs of a report.

    Distances are the metrics of these names if every finished job has them, else the losses,
    provided that all jobs have the same ones. None if fewer than two jobs can be compared.
    """
    done = [row for row in report.rows if row.run.status == "done"]
    kind, names, values = "metric", METRICS, {row.number: row.metrics for row in done}
    if not all(name in metrics for metrics in values.values() for name in names):
        kind, names, values = "loss", LOSSES, {row.number: row.losses for row in done}
        if len({str(row.run.config.get("loss")) for row in done}) > 1:
            return None  # numbers of different losses cannot be compared
    x, y = names
    points = {n: (own[x], own[y]) for n, own in values.items() if x in own and y in own}
    if len(points) < 2:
        return None
    jobs = list(points)
    return TradeOff(kind, names, points, [jobs[n] for n in pareto_front(list(points.values()))])


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points that no other one dominates, by the first coordinate.

    A point dominates another one if it is smaller in one coordinate and not larger in the other.
    Equal points are on the front together. Coordinates are finite.
    """
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: (points[index], index)):
        last = points[front[-1]] if front else None
        if last is None or points[index][1] < last[1] or points[index] == last:
            front.append(index)
    return front


def draw_tradeoff(report: Report, tradeoff: TradeOff, results: Mapping[int, Panel]) -> Image.Image:
    """Draw the distances of all jobs, the Pareto front, and results (by number) along it."""
    labels = {row.number: f"{row.number}: {row.label}" for row in report.rows}
    shown = subsample(tradeoff.front, _PANELS)
    panels = []
    for number in shown:
        image = results[number].image
        small = ImageOps.contain(image, (_SIDE, _SIDE)) if image else None
        panels.append(replace(results[number], label=labels[number], image=small))
    count = f"{len(tradeoff.front)} of {len(tradeoff.points)} jobs are on the Pareto front"
    strip = draw_grid([panels], caption=f"{report.title}: {count}")
    plot = _plot(tradeoff, max(strip.width, 800))
    drawing = Image.new("RGB", (plot.width, plot.height + strip.height), "white")
    drawing.paste(plot, (0, 0))
    drawing.paste(strip, ((plot.width - strip.width) // 2, plot.height))
    return drawing


def _plot(tradeoff: TradeOff, width: int) -> Image.Image:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.family": "DejaVu Sans", "text.usetex": False}):
        size = (width / _DPI, min(width, 1200) * 0.5 / _DPI)
        figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
        axes = figure.add_subplot()
        xs, ys = zip(*tradeoff.points.values(), strict=True)
        axes.scatter(xs, ys, 36, LIGHT)
        front = [tradeoff.points[number] for number in tradeoff.front]
        axes.plot(*zip(*front, strict=True), "o-", color="#2f7ed8", label="Pareto front")
        for number, point in tradeoff.points.items():
            on_front = number in tradeoff.front
            if on_front or len(tradeoff.points) <= _LABELS:
                color = BLACK if on_front else GRAY
                axes.annotate(str(number), point, (5, 5), textcoords="offset points", color=color)
        for values, axis, set_scale in (
            (xs, axes.xaxis, axes.set_xscale),
            (ys, axes.yaxis, axes.set_yscale),
        ):
            if 0 < 10 * min(values) < max(values):
                set_scale("log")
                axis.set_major_formatter("{x:g}")
        names = [f"{name.replace('_', ' ')} ({tradeoff.kind})" for name in tradeoff.names]
        axes.set(xlabel=names[0], ylabel=names[1])
        axes.grid(color=LIGHT, linewidth=0.5)
        axes.legend(frameon=False)
        stream = io.BytesIO()
        figure.savefig(stream, format="png")
        return Image.open(stream).convert("RGB")
