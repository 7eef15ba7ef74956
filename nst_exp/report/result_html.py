"""A result as HTML for notebooks: content, style, the image, and the losses over time."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape

from PIL import Image, ImageOps

from nst_exp.results.losses_csv import COLUMNS, Row

_SIDE = 400  # longest side of the result's image; notebooks are saved with what they show
_CURVES = {"total": "#888888", "content": "#1f77b4", "style": "#d62728"}
_WIDTH, _HEIGHT, _LEFT, _BELOW = 320, 200, 52, 18  # of the chart, and its margins


def render_result(
    title: str, inputs: Mapping[str, Image.Image], result: Image.Image, rows: Sequence[Row]
) -> str:
    """Return a fragment of HTML that needs nothing else."""
    panels = [*inputs.items(), ("result", reduced(result, _SIDE))]
    figures = [_figure(f'<img src="{_data(image)}" alt="{name}">', name) for name, image in panels]
    if len(rows) > 1:
        figures.append(_figure(_chart(rows), "losses over the steps"))
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:8px;align-items:flex-end">'
        f"{''.join(figures)}</div><code>{escape(title)}</code>"
    )


def reduced(image: Image.Image, longest: int) -> Image.Image:
    """Return an image with at most so many pixels on its longer side."""
    return ImageOps.contain(image, (longest, longest)) if max(image.size) > longest else image


def _figure(content: str, caption: str) -> str:
    return (
        f'<figure style="margin:0">{content}<figcaption style="font-size:smaller">'
        f"{escape(caption)}</figcaption></figure>"
    )


def _data(image: Image.Image) -> str:
    stream = io.BytesIO()
    if image.mode == "RGBA":
        image.save(stream, "PNG")
    else:
        image.save(stream, "JPEG", quality=90)
    kind = "png" if image.mode == "RGBA" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"


def _chart(rows: Sequence[Row]) -> str:
    """Draw total, content and style over the steps, on a logarithmic axis."""
    columns = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
    curves = {
        name: [(step, math.log10(v)) for step, v in zip(columns["step"], columns[name], strict=True)
               if 0 < v < math.inf]
        for name in _CURVES
    }  # fmt: skip
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return ""
    first, last = columns["step"][0], columns["step"][-1]
    low, high = min(y for _, y in points), max(y for _, y in points)

    def place(point: tuple[float, float]) -> str:
        x = _LEFT + (point[0] - first) / ((last - first) or 1) * (_WIDTH - _LEFT - 4)
        y = 14 + (high - point[1]) / ((high - low) or 1) * (_HEIGHT - 14 - _BELOW)
        return f"{x:.1f},{y:.1f}"

    parts = []
    for index, (name, curve) in enumerate(curves.items()):
        color, line = _CURVES[name], " ".join(map(place, curve))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        parts.append(f'<text x="{_LEFT + 8 + 70 * index}" y="10" fill="{color}">{name}</text>')
    bottom = _HEIGHT - _BELOW
    for y, value in ((24, high), (bottom, low)):
        label = f'x="{_LEFT - 4}" y="{y}" text-anchor="end"'
        parts.append(f'<text {label} fill="gray">{10**value:.1e}</text>')
    parts.append(f'<text x="{_LEFT}" y="{_HEIGHT - 4}" fill="gray">step {first:g}</text>')
    end = f'x="{_WIDTH - 4}" y="{_HEIGHT - 4}" text-anchor="end"'
    parts.append(f'<text {end} fill="gray">{last:g}</text>')
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" font-size="10" font-family="sans-serif">'
        f"{''.join(parts)}</svg>"
    )
