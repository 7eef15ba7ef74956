"""The pictures and words of a report: results, shared inputs, snapshots, constant settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from nst_exp.images import load_image
from nst_exp.report.contact_sheet import Thumb
from nst_exp.report.entries import Entry, Report
from nst_exp.report.varied_keys import spoken
from nst_exp.results.record import SAVED_INPUTS
from nst_exp.utils.errors import ConfigError

T = TypeVar("T")

_SNAPSHOT = re.compile(r"step_(\d+)\.png")


def open_picture(path: Path | None, side: int) -> Image.Image | None:
    """A picture (RGB) reduced to ``side`` pixels at most; None if it is missing or damaged."""
    if path is None or not path.is_file():
        return None
    try:
        found = load_image(path, key="report", max_megapixels=float("inf"), hint=side).image
    except ConfigError:
        return None
    found.thumbnail((side, side), Image.Resampling.LANCZOS)
    return found


def snapshots(folder: Path) -> dict[int, Path]:
    """A run's pictures over time, by step."""
    found = {}
    for path in (folder / "snapshots").glob("step_*.png"):
        if match := _SNAPSHOT.fullmatch(path.name):
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def shared_inputs(report: Report, side: int) -> list[Thumb]:
    """Content and style as thumbnails, where all jobs have the same one.

    It is the copy that a run keeps, or the file as it was when it was used: one that has changed
    since, or is gone, is told by a word.
    """
    thumbs = []
    for kind, copy in SAVED_INPUTS.items():
        found = [(e, e.job.inputs[kind]) for e in report.entries if _known(e, kind)]
        if not found or len({entry["sha256"] for _, entry in found}) > 1:
            continue
        path = Path(str(found[0][1].get("path")))
        copies = (e.folder / copy for e, entry in found if entry.get("copy") == copy)
        picture = next((p for c in copies if (p := open_picture(c, side)) is not None), None)
        note = ""
        if picture is None:
            picture, note = _unchanged(path, str(found[0][1]["sha256"]), side)
        thumbs.append(Thumb(kind, picture, note))
    return thumbs


def _known(entry: Entry, kind: str) -> bool:
    found = entry.job.inputs.get(kind)
    return isinstance(found, dict) and isinstance(found.get("sha256"), str)


def _unchanged(path: Path, sha256: str, side: int) -> tuple[Image.Image | None, str]:
    if not path.is_file():
        return None, "gone"
    try:
        found = load_image(path, key="report", max_megapixels=float("inf"), hint=side)
    except ConfigError:
        return None, "damaged"
    if found.sha256 != sha256:
        return None, "changed"
    found.image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return found.image, ""


def constant_settings(report: Report) -> str:
    """``content chelsea, style wave, vgg16, size 384, 150 steps``: what does not vary."""
    configs = [entry.job.config for entry in report.entries if entry.job.config]
    if not configs:
        return ""
    parts = []
    for key, words in {
        "content": "content {}",
        "style": "style {}",
        "backbone": "{}",
        "size": "size {}",
        "steps": "{} steps",
    }.items():
        if key in report.varied or f"{key}.name" in report.varied:
            continue
        values = list(dict.fromkeys(_word(key, config) for config in configs))
        parts.append(words.format(" / ".join(values[:4]) + (" / ..." if values[4:] else "")))
    return ", ".join(parts)


def _word(key: str, config: dict[str, Any]) -> str:
    value = config.get(key)
    if key == "backbone" and isinstance(value, dict):
        random = " with random weights" if value.get("weights") == "random" else ""
        return f"{value.get('name')}{random}"
    return Path(value).stem if isinstance(value, str) else spoken(value)


def evenly(items: Sequence[T], most: int) -> list[T]:
    """At most ``most`` (2 or more) items, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    last = len(items) - 1
    return [items[round(index * last / (most - 1))] for index in range(most)]
