"""Messages about settings that Hydra or OmegaConf refused, in one line each."""

import re
import typing
from dataclasses import is_dataclass
from enum import Enum
from typing import Any

from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    GrammarParseError,
    InterpolationResolutionError,
    OmegaConfBaseException,
)
from yaml import MarkedYAMLError

from nst_exp.app.known_keys import OPTIMIZERS, field_types, kinds_of, type_of, unknown_key
from nst_exp.utils.suggest import did_you_mean

NOT_GLOBAL = (
    "experiment: its file must begin with the line '# @package _global_' and hold KEY: VALUE; on "
    "the command line write +experiment=NAME"
)
_TYPES = {
    int: "a whole number, written out (1000, not 1e3)",
    float: "a number",
    bool: "true or false",
    str: "a single text",
}


def quote(text: str, mark: str = "'") -> str:
    """Quote a text in the grammar of Hydra's overrides."""

    def escape(match: re.Match[str]) -> str:
        return match[1] * 2 + (f"\\{match[2]}" if match[2] else "")

    # Backslashes are doubled before a quotation mark or the end, and only there.
    return mark + re.sub(rf"(\\*)({mark}|$)", escape, text) + mark


def expected(key: str, value: Any, error: Exception) -> str:
    """Say what the value of a known key must be, instead of the one that raised ``error``."""
    hint = type_of(key)
    if value is None:
        return "needs a value"
    if typing.get_origin(hint) is list:
        if not isinstance(value, list):
            return f"must be a list: {key}=[...]"
        (entry,) = typing.get_args(hint)
        if is_dataclass(entry):
            keys = ", ".join(field_types(entry))
            return f"{first_line(error)}; every entry is {{KEY: VALUE, ...}} with some of {keys}"
        return f"every entry must be {_TYPES[entry]}" if entry in _TYPES else first_line(error)
    if is_dataclass(hint):
        return f"has keys of its own; set {key}.KEY=VALUE"
    if isinstance(hint, type) and issubclass(hint, Enum):
        names = list(hint.__members__)
        return f"must be one of {', '.join(names)}{did_you_mean(str(value), names)}"
    return f"must be {_TYPES[hint]}" if hint in _TYPES else first_line(error)


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message; its type if there is none."""
    return next((line for line in str(error).splitlines() if line), type(error).__name__)


def describe_error(error: BaseException) -> str:
    """Describe what Hydra or OmegaConf raised, in one line.

    It is mostly about a file of presets, since overrides are checked before.
    """
    if isinstance(error, RecursionError):
        return "too deep: a preset includes itself, or refers to itself; remove that"
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, MarkedYAMLError) and (mark := link.problem_mark or link.context_mark):
            place = f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}"
            return f"{place}: {link.problem or link.context}; correct the YAML there"
        if isinstance(link, OmegaConfBaseException) and link.full_key:
            return _describe_key(link, f" ({first_line(error)})" if link is not error else "")
        link = link.__cause__ or link.__context__
    return first_line(error)


def _describe_key(error: OmegaConfBaseException, where: str) -> str:
    key = str(error.full_key)
    if key == "experiment":
        return NOT_GLOBAL
    if isinstance(error, ConfigAttributeError | ConfigKeyError):
        if key.startswith("hydra."):
            section = key.rpartition(".")[0]
            near = did_you_mean(key, [f"{section}.{name}" for name in error.parent_node or ()])
            return f"{key}: no such key{near}{where}"
        if type_of(key) is None:
            return unknown_key(key) + where
        if len(kinds_of(key)) < len(OPTIMIZERS):
            return unknown_key(key)
    if isinstance(error, InterpolationResolutionError | GrammarParseError):
        where += "; write \\$ for a dollar sign of the value itself"
    return f"{key}: {first_line(error)}{where}"
