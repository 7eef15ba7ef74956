"""Messages about settings that Hydra or OmegaConf refused, in one line each."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Sequence
from dataclasses import is_dataclass
from enum import Enum
from typing import Any

from hydra.conf import HydraConf
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException
from yaml import MarkedYAMLError

from nst_exp.app.known_keys import kinds_of, type_of, unknown_key
from nst_exp.utils.suggest import did_you_mean

_TYPES = {
    int: "a whole number, written out (1000, not 1e3)",
    float: "a number",
    bool: "true or false",
    str: "a single text; quote it",
}

NOT_GLOBAL = (
    "experiment: its file must begin with the line '# @package _global_' and hold KEY: VALUE; on "
    "the command line write +experiment=NAME"
)


def quote(text: str, mark: str = "'") -> str:
    """Quote a text in the grammar of Hydra's overrides."""
    # Backslashes are doubled before a quotation mark or the end, and only there.
    return mark + re.sub(rf"(\\*)({mark}|$)", _escape, text) + mark


def _escape(match: re.Match[str]) -> str:
    return match[1] * 2 + (f"\\{match[2]}" if match[2] else "")


def expected(key: str, value: Any, error: Exception) -> str:
    """Say what a key's value must be, since ``value`` could not be converted.

    Args:
        key: A known key.
        value: The value, as parsed.
        error: What OmegaConf raised.
    """
    hint = type_of(key)
    if value is None:
        return "needs a value"
    if typing.get_origin(hint) is list:
        if not isinstance(value, list):
            return f"must be a list: {key}=[...]"
        (entry,) = typing.get_args(hint)
        if entry in _TYPES:
            return f"every entry must be {_TYPES[entry].partition(';')[0]}"
        return _inside(error)
    if isinstance(hint, type) and issubclass(hint, Enum):
        names = list(hint.__members__)
        return f"must be one of {', '.join(names)}{did_you_mean(str(value), names)}"
    if is_dataclass(hint) and isinstance(value, dict):
        return _inside(error)
    if is_dataclass(hint):
        return f"has keys of its own; set {key}.KEY=VALUE"
    return f"must be {_TYPES.get(hint, getattr(hint, '__name__', 'another value'))}"


def _inside(error: Exception) -> str:
    """Name the entry inside a list or dict that OmegaConf refused."""
    key = getattr(error, "full_key", None)
    return f"{key}: {first_line(error)}" if key else first_line(error)


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message; its type if there is none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


def describe_error(error: BaseException, overrides: Sequence[str] = ()) -> str:
    """Describe what Hydra or OmegaConf raised, in one line.

    Args:
        error: Usually of a preset in a file, since overrides are checked before.
        overrides: Those of the command line.
    """
    for text in overrides:
        key = text.lstrip("+~").partition("=")[0]
        if key.startswith("hydra") and (problem := _hydra_key(key, overrides)):
            return problem
        if 0 < len(kinds := kinds_of(key)) < len(kinds_of("optimizer")):
            return f"{key}: only with optimizer={' or '.join(kinds)}"
    for link in _chain(error):
        if isinstance(link, MarkedYAMLError) and (mark := link.problem_mark or link.context_mark):
            place = f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}"
            return f"{place}: {link.problem or link.context}; correct the YAML there"
        if isinstance(link, OmegaConfBaseException) and link.full_key:
            if isinstance(link, MissingMandatoryValue):
                return f"{link.full_key}=???: needs a value"
            where = f" ({first_line(error)})" if error is not link else ""
            if isinstance(link, ConfigKeyError):
                if link.full_key == "experiment":
                    return NOT_GLOBAL
                return unknown_key(link.full_key) + where
            return f"{link.full_key}: {first_line(link)}{where}"
    return first_line(error)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _hydra_key(key: str, overrides: Sequence[str]) -> str | None:
    """Word the problem of one of Hydra's own keys; None if it exists."""
    own = OmegaConf.to_container(OmegaConf.structured(HydraConf))
    known = [f"hydra.{name}" for name in _paths(own)]
    of_plugins: list[str] = []
    for group, presets in ConfigStore.instance().repo["hydra"].items():
        if isinstance(presets, dict):
            known.append(f"hydra/{group}")
            nodes = [getattr(preset, "node", None) for preset in presets.values()]
            of_plugins += [f"hydra.{group}.{name}" for node in nodes for name in node or ()]
    if key in known:
        return None
    _, owner, *rest = [*key.split("."), ""]
    if owner in ("launcher", "sweeper") and rest:
        chosen = next((text for text in overrides if text.startswith(f"hydra/{owner}=")), None)
        return (
            f"{key}: {f'{chosen} has no such key' if chosen else f'only with hydra/{owner}=NAME'}"
        )
    return unknown_key(key, known)


def _paths(node: Any, prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _paths(value, f"{prefix}{key}.")
