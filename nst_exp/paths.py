"""Where the presets lie, in a checkout and in an installed package alike."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _configs() -> Path:
    places = [_PACKAGE / "configs", _PACKAGE.parent / "configs"]
    return next((place for place in places if place.is_dir()), places[0])


CONFIGS = _configs()
"""The folder of presets: inside the package in a wheel, beside it in a checkout."""
