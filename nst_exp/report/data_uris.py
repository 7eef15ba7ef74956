"""Pictures as data URIs that together stay within a number of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from PIL import Image

from nst_exp.report.images import evenly

Key = TypeVar("Key", bound=Hashable)

_SAMPLE = 6  # pictures whose sizes tell how large all will be


@dataclass(frozen=True)
class Coding:
    """How pictures are written: WebP within ``side`` pixels, of this quality or lossless."""

    side: int
    quality: int | None = None  # 0..100; None for lossless


LADDER = (
    Coding(512),
    Coding(512, 92),
    Coding(384, 90),
    Coding(320, 86),
    Coding(256, 82),
    Coding(192, 78),
    Coding(128, 74),
    Coding(96, 68),
    Coding(64, 60),
    Coding(32, 50),
)


def embedded(
    sources: Mapping[Key, Callable[[int], Image.Image | None]],
    budget: int,
    first: int = LADDER[0].side,
) -> tuple[dict[Key, str], Coding]:
    """``data:`` URIs of all pictures, ``budget`` characters in all, and how they were written.

    A source is a function that gives its picture (RGB) within a number of pixels, or None: then the
    key is left out. The best coding of LADDER, of ``first`` pixels at most, that keeps the budget
    is taken; the last one if none does.
    """
    codings = [coding for coding in LADDER if coding.side <= first] or [LADDER[-1]]
    sample = evenly(list(sources), _SAMPLE)
    for coding in codings:
        last = coding is codings[-1]
        if not last:
            tried = [_uri(sources[key], coding) for key in sample]
            known = [len(uri) for uri in tried if uri]
            if known and sum(known) / len(known) * len(sources) > budget:
                continue
        found: dict[Key, str] = {}
        left = budget
        for key, source in sources.items():
            if uri := _uri(source, coding):
                found[key] = uri
                left -= len(uri)
                if left < 0 and not last:
                    break
        else:
            return found, coding
    raise AssertionError("the last coding is taken in any case")


def _uri(source: Callable[[int], Image.Image | None], coding: Coding) -> str:
    picture = source(coding.side)
    if picture is None:
        return ""
    stream = io.BytesIO()
    if coding.quality is None:
        picture.save(stream, "WEBP", lossless=True, quality=50, method=2)
    else:
        picture.save(stream, "WEBP", quality=coding.quality, method=3)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"
