"""Settings given in Python, as the overrides of a command line."""

import inspect
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from enum import Enum
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from nst_exp.app.compose import escape
from nst_exp.app.messages import quote
from nst_exp.config.presets import groups
from nst_exp.config.schema import Config
from nst_exp.images.given import is_image, save_given
from nst_exp.utils.errors import ConfigError

Overrides = str | Sequence[str] | Mapping[str, Any]
F = TypeVar("F", bound=Callable[..., Any])

_BARE = re.compile(r"[A-Za-z_/.~][\w/.+~-]*")  # texts that Hydra reads as they are
_WORDS = ("null", "true", "false", "nan", "inf")  # that are no texts for it
_IMAGES = ("content", "style", "content_map", "style_map")


def to_overrides(overrides: Overrides, settings: Mapping[str, Any], folder: Path) -> list[str]:
    """Return overrides and keywords as on the command line; keywords come last and win.

    Images in memory are saved in ``folder``.

    Raises:
        ConfigError: For a value that no key can have.
    """
    return [*_given(overrides, folder), *_entries(settings, folder)]


def _given(overrides: Any, folder: Path) -> Iterable[str]:
    if isinstance(overrides, str):
        return shlex.split(overrides)
    if isinstance(overrides, Mapping):
        return _entries(overrides, folder)
    if not isinstance(overrides, Iterable) or not all(isinstance(o, str) for o in overrides):
        raise ConfigError(
            f"overrides={overrides!r}: must be a text, a list of texts or a dict; give "
            "overrides=['size=512', 'beta=20']"
        )
    return list(overrides)


def _entries(settings: Mapping[str, Any], folder: Path) -> list[str]:
    found = []
    for key, value in settings.items():
        if isinstance(value, Mapping):  # keys of a section
            found += _entries({f"{key}.{name}": entry for name, entry in value.items()}, folder)
        else:
            found.append(f"{prefixed(key)}={format_value(key, value, folder)}")
    return found


def prefixed(key: str) -> str:
    """Return a key as an override names it: an experiment is added to the defaults."""
    return "+experiment" if key == "experiment" else key


def format_value(key: str, value: Any, folder: Path) -> str:
    """Write a value in the grammar of Hydra's overrides; texts are meant literally.

    Raises:
        ConfigError: If no key can have a value of this type.
    """
    if key.partition("[")[0] in _IMAGES:
        value = _as_path(key, value, folder)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        value = value.name
    if isinstance(value, PathLike):
        value = fspath(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        bare = _BARE.fullmatch(value) and value.lower() not in _WORDS
        return value if bare else quote(escape(value))
    if isinstance(value, list | tuple | range):
        entries = (format_value(f"{key}[{n}]", entry, folder) for n, entry in enumerate(value))
        return f"[{','.join(entries)}]"
    if isinstance(value, Mapping):  # in a list
        pairs = (f"{name}: {format_value(key, entry, folder)}" for name, entry in value.items())
        return f"{{{', '.join(pairs)}}}"
    kind = type(value).__name__
    raise ConfigError(f"{key}: a value of type {kind}; give a text, a number, a list or a dict")


def _as_path(key: str, value: Any, folder: Path) -> Any:
    if is_image(value):
        return save_given(value, key, folder)
    if not isinstance(value, str | PathLike | list | tuple | None):
        raise ConfigError(
            f"{key}={value!r}: a value of type {type(value).__name__}; give a path, a name, a PIL "
            "image, a NumPy array or a torch tensor"
        )
    return value


def takes_settings(function: F) -> F:
    """Show every top-level key of the config among the keywords of a function.

    It is what ``help()`` and the completion of notebooks read.
    """
    own = inspect.signature(function)
    known = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
    names = [field.name for field in fields(Config)] + ["experiment"]
    presets = groups()
    new = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_shown(name, presets))
        for name in names
        if name not in own.parameters
    ]
    vars(function)["__signature__"] = own.replace(parameters=[*known, *new])
    return function


class _Default:
    """A default that the signature shows; it is not passed."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _shown(name: str, presets: Mapping[str, Sequence[str]]) -> _Default:
    if name in presets or name == "reference":
        return _Default("'PRESET'")
    value = getattr(Config(), name)
    return _Default(repr(value.name) if isinstance(value, Enum) else repr(value))
