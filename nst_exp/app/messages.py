"""Messages about settings that Hydra or OmegaConf refused, in one line each."""

from __future__ import annotations

import re
import typing
from collections.abc import Sequence
from dataclasses import is_dataclass
from enum import Enum
from typing import Any

from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)
from yaml import MarkedYAMLError

from nst_exp.app.known_keys import OPTIMIZERS, kinds_of, type_of, unknown_key
from nst_exp.utils.suggest import did_you_mean

NOT_GLOBAL = (
    "experiment: its file must begin with the line '# @package _global_' and hold KEY: VALUE; on "
    "the command line write +experiment=NAME"
)
_UNKNOWN = (ConfigAttributeError, ConfigKeyError)
_TYPES = {
    int: "a whole number, written out (1000, not 1e3)",
    float: "a number",
    bool: "true or false",
    str: "a single text; quote it",
}


def quote(text: str, mark: str = "'") -> str:
    """Quote a text in the grammar of Hydra's overrides."""

    def escape(match: re.Match[str]) -> str:
        return match[1] * 2 + (f"\\{match[2]}" if match[2] else "")

    # Backslashes are doubled before a quotation mark or the end, and only there.
    return mark + re.sub(rf"(\\*)({mark}|$)", escape, text) + mark


def expected(key: str, value: Any, error: Exception) -> str:
    """Say what the value of a known key must be.

    Args:
        key: The key.
        value: The value that could not be converted.
        error: What OmegaConf raised.
    """
    hint = type_of(key)
    entry = typing.get_args(hint)[0] if typing.get_origin(hint) is list else None
    if value is None:
        return "needs a value"
    if entry is not None and not isinstance(value, list):
        return f"must be a list: {key}=[...]"
    if entry in _TYPES:
        return f"every entry must be {_TYPES[entry].partition(';')[0]}"
    if isinstance(value, dict | list) and (entry or is_dataclass(hint)):
        inside = getattr(error, "full_key", None)
        return f"{inside}: {first_line(error)}" if inside else first_line(error)
    if is_dataclass(hint):
        return f"has keys of its own; set {key}.KEY=VALUE"
    if isinstance(hint, type) and issubclass(hint, Enum):
        names = list(hint.__members__)
        return f"must be one of {', '.join(names)}{did_you_mean(str(value), names)}"
    return f"must be {_TYPES.get(hint, hint)}"


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message; its type if there is none."""
    return next((line for line in str(error).splitlines() if line), type(error).__name__)


def describe_error(error: BaseException, overrides: Sequence[str] = ()) -> str:
    """Describe what Hydra or OmegaConf raised, in one line.

    Args:
        error: Usually about a file of presets, since overrides are checked before.
        overrides: Those of the command line.
    """
    for typed in (text.lstrip("+~").partition("=")[0] for text in overrides):
        if 0 < len(kinds := kinds_of(typed)) < len(OPTIMIZERS):
            return f"{typed}: only with optimizer={' or '.join(kinds)}"
    link: BaseException | None = error
    while link is not None:
        where = f" ({first_line(error)})" if link is not error else ""
        if isinstance(link, MarkedYAMLError) and (mark := link.problem_mark or link.context_mark):
            place = f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}"
            return f"{place}: {link.problem or link.context}; correct the YAML there"
        if isinstance(link, OmegaConfBaseException) and link.full_key:
            key = link.full_key
            if key == "experiment":
                return NOT_GLOBAL
            if isinstance(link, _UNKNOWN) and key.startswith("hydra."):
                section, _, name = key.rpartition(".")
                near = did_you_mean(name, map(str, link.parent_node or ()))
                return f"{key}: no such key" + near.replace(" '", f" '{section}.")
            if isinstance(link, _UNKNOWN) and type_of(key) is None:
                return unknown_key(key) + where
            missing = isinstance(link, MissingMandatoryValue)
            return f"{key}=???: needs a value" if missing else f"{key}: {first_line(link)}{where}"
        link = link.__cause__ or link.__context__
    return first_line(error)
