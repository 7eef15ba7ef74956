"""Metadata of the schema's fields: help, bounds and choices, kept where a field is declared.

The checks of values, ``--help`` and docs/configuration.md are made from them.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar, cast

from nst_exp.utils.suggest import as_utf8

T = TypeVar("T")
MANY = 1_000_000_000  # of steps; larger numbers would overflow counters


@dataclass(frozen=True)
class Key:
    """What a key means and which values it allows; of a list, which entries."""

    help: str
    bounds: tuple[float, float] = (-math.inf, math.inf)
    above: float = -math.inf
    choices: tuple[Any, ...] = ()

    def allows(self, value: Any) -> bool:
        """Tell whether a value of the right type is among the choices or within the bounds."""
        if self.choices:
            return value in self.choices
        low, high = self.bounds
        return not isinstance(value, int | float) or (low <= value <= high and value > self.above)

    def allowed(self) -> str:
        """Describe the allowed values, as in ``must be ...``; empty if all are allowed."""
        low, high = self.bounds
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        if self.above > -math.inf:
            return f"greater than {self.above}"
        if high < math.inf:
            return f"from {low} to {high}"
        return f"at least {low}" if low > -math.inf else ""


def key(
    default: T,
    help: str = "",
    *,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    above: float = -math.inf,
    choices: tuple[Any, ...] = (),
) -> T:
    """Declare a field of a dataclass: its default, its meaning and the values that it allows.

    The choices of an enum are its members.
    """
    if isinstance(default, Enum):
        choices = tuple(type(default).__members__)
    metadata = {"key": Key(help, bounds, above, choices)}
    if isinstance(default, list | dict) or is_dataclass(default):
        return cast(T, field(default_factory=lambda: copy.deepcopy(default), metadata=metadata))
    return field(default=default, metadata=metadata)


def walk(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, Key]]:
    """Yield the dotted key, the value and the metadata of every key that holds a value."""
    for f in fields(config):
        value, path = getattr(config, f.name), f"{prefix}{f.name}"
        if is_dataclass(value):
            yield from walk(value, f"{path}.")
        elif isinstance(value, dict) and any(map(is_dataclass, value.values())):
            for entry, node in value.items():
                yield from walk(node, f"{path}.{entry}.")
        elif isinstance(value, list) and any(map(is_dataclass, value)):
            for index, node in enumerate(value):
                yield from walk(node, f"{path}[{index}].")
        else:
            yield path, value, f.metadata["key"]


def typed(key: str, value: Any) -> str:
    """Format ``KEY=VALUE`` as a user types it."""
    if isinstance(value, list):
        entries = [f"{entry:g}" if isinstance(entry, float) else str(entry) for entry in value]
        return f"{key}=[{as_utf8(','.join(entries))}]"
    return f"{key}={as_utf8(str(value))}"
