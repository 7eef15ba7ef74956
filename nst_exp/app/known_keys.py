"""The keys of the schema with their types, and the nearest key to one that does not exist."""

import types
import typing
from dataclasses import is_dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any

from nst_exp.config.keys import walk
from nst_exp.config.presets import groups
from nst_exp.config.schema import LBFGS, Adam, Config, Optimizer, RMSprop

ONE_OR_MORE = ("style", "style_map")  # lists of texts, for which a single text may be given
OPTIMIZERS: dict[str, type[Optimizer]] = {"lbfgs": LBFGS, "adam": Adam, "rmsprop": RMSprop}


def field_types(node: Any) -> dict[str, Any]:
    """Return the types of a dataclass' fields, without ``| None``."""
    return {
        name: typing.get_args(hint)[0] if isinstance(hint, types.UnionType) else hint
        for name, hint in typing.get_type_hints(node).items()
    }


def type_of(key: str, optimizer: str = "") -> Any:
    """Return the type of a key's value without ``| None``; None for a key that does not exist.

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
        elif node is not Any:
            node = field_types(node).get(name) if is_dataclass(node) else None
    return node


def kinds_of(key: str) -> list[str]:
    """Return the optimizers that have a key below ``optimizer``."""
    return [kind for kind in OPTIMIZERS if type_of(key, kind) is not None]


@lru_cache
def known_keys() -> list[str]:
    """Return every key of the schema, with dots, and the sections that hold them."""
    configs = [Config(optimizer=kind()) for kind in OPTIMIZERS.values()]
    parts = [key.split(".") for config in configs for key, _, _ in walk(config)]
    return list(dict.fromkeys(".".join(p[:n]) for p in parts for n in range(1, len(p) + 1)))


def unknown_key(key: str) -> str:
    """Word the problem of a key that is not in the config, with the nearest one that exists."""
    if kinds := kinds_of(key):
        return f"{key}: only with optimizer={' or '.join(kinds)}"
    known = [*known_keys(), *groups()]
    section, _, name = key.rpartition(".")
    if section not in known and is_dataclass(node := type_of(section)):  # loss.more.NAME
        known = [f"{section}.{field}" for field in field_types(node)]

    def likeness(other: str) -> float:
        last = other.rpartition(".")[2]
        return SequenceMatcher(None, key, other).ratio() + SequenceMatcher(None, name, last).ratio()

    nearest = max(known, key=likeness)
    hint = "see python -m nst_exp --help"
    return f"{key}: no such key; " + (
        f"did you mean '{nearest}'?" if likeness(nearest) > 1 else hint
    )
