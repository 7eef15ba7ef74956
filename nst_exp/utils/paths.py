"""Where the presets and the cache lie, in a checkout and in an installed package alike."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from nst_exp.utils.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]


def _configs() -> Path:
    places = [_PACKAGE / "configs", _PACKAGE.parent / "configs"]
    return next((place for place in places if place.is_dir()), places[0])


CONFIGS = _configs()
"""The folder of presets: inside the package in a wheel, beside it in a checkout."""


def cache_folder() -> Path:
    """``$NST_EXP_CACHE``, else the platform's folder for caches. It need not exist.

    Raises ConfigError for a user without a home folder who has not set the variable.
    """
    own = os.environ.get("NST_EXP_CACHE")
    if own:
        return Path(os.path.abspath(os.path.expanduser(own)))
    try:
        return platformdirs.user_cache_path("nst_exp", appauthor=False)
    except RuntimeError as error:
        raise ConfigError(
            "NST_EXP_CACHE: there is no home folder for the cache of weights; set this "
            "environment variable to a folder"
        ) from error
