"""Folders of the presets and of the cache."""

import os
from pathlib import Path

import platformdirs

from nst_exp.utils.errors import ConfigError

LATEST = "latest.png"  # in a run's folder: the image so far

_PACKAGE = Path(__file__).resolve().parents[1]
# Inside the package in a wheel, beside it in a checkout.
CONFIGS = _PACKAGE / "configs" if (_PACKAGE / "configs").is_dir() else _PACKAGE.parent / "configs"


def cache_folder() -> Path:
    """Return ``$NST_EXP_CACHE``, or else the platform's cache folder; it need not exist.

    Raises:
        ConfigError: If the variable is not set and the user has no home folder.
    """
    if own := os.environ.get("NST_EXP_CACHE"):
        return Path(os.path.abspath(os.path.expanduser(own)))
    try:
        return platformdirs.user_cache_path("nst_exp", appauthor=False)
    except RuntimeError as error:
        raise ConfigError(
            "NST_EXP_CACHE: not set, and there is no home folder for the cache; set it to a folder"
        ) from error
