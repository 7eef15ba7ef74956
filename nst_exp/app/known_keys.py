"""What a command line may name: the keys of the schema with their types, groups and presets."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from difflib import SequenceMatcher, get_close_matches
from functools import lru_cache
from typing import Any

from nst_exp.config.presets import groups
from nst_exp.config.schema import LBFGS, Adam, Config, Optimizer

OPTIMIZERS: dict[str, type[Optimizer]] = {"lbfgs": LBFGS, "adam": Adam}


def type_of(key: str, optimizer: str = "") -> Any:
    """Return the type of a key's field without ``| None``; None for a key that does not exist.

    Args:
        key: Dotted key, such as "loss.tv.weight".
        optimizer: Kind of optimizer whose keys count; every kind if empty.
    """
    node: Any = Config
    for name in key.split("."):
        if node is Optimizer:
            kinds = [OPTIMIZERS[optimizer]] if optimizer else OPTIMIZERS.values()
            node = next((kind for kind in kinds if name in field_types(kind)), Optimizer)
        if typing.get_origin(node) is dict:
            node = typing.get_args(node)[1]
        elif node is Any:
            continue
        elif is_dataclass(node) and name in (hints := field_types(node)):
            node = hints[name]
        else:
            return None
    return node


def kinds_of(key: str) -> list[str]:
    """Return the optimizers that have a key below ``optimizer``."""
    return [kind for kind in OPTIMIZERS if type_of(key, kind) is not None]


def field_types(node: Any) -> dict[str, Any]:
    """Return the types of a dataclass' fields, without ``| None``."""
    return _field_types(node)


@lru_cache
def _field_types(node: Any) -> dict[str, Any]:
    found = {}
    for name, hint in typing.get_type_hints(node).items():
        if isinstance(hint, types.UnionType):  # X | None
            hint = next(part for part in typing.get_args(hint) if part is not types.NoneType)
        found[name] = hint
    return found


def _walk(node: Any, prefix: str, parents: tuple[Any, ...] = ()) -> Iterator[str]:
    for field in fields(node):
        key, hint = f"{prefix}{field.name}", field_types(node)[field.name]
        yield key
        for below in OPTIMIZERS.values() if hint is Optimizer else [hint]:
            if is_dataclass(below) and below not in parents:
                yield from _walk(below, f"{key}.", (*parents, node, below))


@lru_cache
def known_keys() -> list[str]:
    """Return every key of the schema, with dots."""
    return list(dict.fromkeys(_walk(Config, "")))


def unknown_key(key: str, known: list[str] | None = None) -> str:
    """Word the problem of a key that does not exist, with the nearest key that does.

    Args:
        key: The key as typed.
        known: Keys to look among; those of the schema if None.
    """
    known = [*known_keys(), *groups()] if known is None else known
    name = key.split(".")[-1]
    same_name = [other for other in known if other.split(".")[-1] == name]
    close = same_name + get_close_matches(key, known, n=1, cutoff=0.5)
    if not close:
        by_name = {other.split(".")[-1]: other for other in reversed(known)}
        close = [by_name[other] for other in get_close_matches(name, by_name, n=1, cutoff=0.6)]

    def likeness(other: str) -> float:
        return SequenceMatcher(None, key, other).ratio() + 0.3 * (other in same_name)

    nearest = max(close, key=likeness, default=None)
    hint = f"did you mean '{nearest}'?" if nearest else "see python -m nst_exp --help"
    return f"{key}: no such key; {hint}"
