"""Configs as plain values, and back again."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from nst_exp.app.api import make_config
from nst_exp.app.compose import register, to_config
from nst_exp.config.keys import walk
from nst_exp.config.schema import LBFGS, Adam, Config, Optimizer
from nst_exp.config.serialize import config_as_dict, flat, plain

few = settings(max_examples=5, deadline=None)  # composing takes a tenth of a second
# What a command line can hold: anything but NUL and halves of surrogate pairs.
TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=12)


def values_like(default: Any) -> st.SearchStrategy[Any]:
    """Generate values of the type of a key's default."""
    if isinstance(default, Enum):
        return st.sampled_from(list(type(default)))
    kinds: dict[type, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        int: st.integers(0, 2**40),
        float: st.floats(-1e12, 1e12),
        str: TEXT.filter(lambda text: "${" not in text and text != "???"),
    }
    return kinds.get(type(default), st.nothing())


DEFAULTS = {
    name: value
    for name, value, _ in walk(Config(optimizer=Optimizer()))
    if isinstance(value, bool | int | float | str) and name != "optimizer.kind"
}
CHANGES = st.lists(st.sampled_from(sorted(DEFAULTS)), min_size=1, max_size=8, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: values_like(DEFAULTS[name]) for name in names})
)


@few
@given(CHANGES)
def test_values_arrive_from_the_command_line(changes: dict[str, Any]) -> None:
    changes = {
        name: value
        for name, value in changes.items()
        if isinstance(value, Enum) or not isinstance(value, str)
    }
    typed = [f"{name}={plain(value)}" for name, value in changes.items()]
    found = {name: value for name, value, _ in walk(make_config(typed))}
    assert {name: found[name] for name in changes} == changes


@few
@given(CHANGES, st.sampled_from([LBFGS, Adam]))
def test_a_config_is_the_same_after_a_record(
    changes: dict[str, Any], optimizer: type[Optimizer]
) -> None:
    register()
    config = Config(optimizer=optimizer())
    for name, value in changes.items():
        *path, last = name.split(".")
        node: Any = config
        for part in path:
            node = getattr(node, part)
        setattr(node, last, value)
    record = json.loads(json.dumps(config_as_dict(config)))
    schema = OmegaConf.structured(Config(optimizer=optimizer()))
    assert to_config(OmegaConf.merge(schema, record)) == config  # type: ignore[arg-type]


def test_enums_become_names_and_keys_dotted() -> None:
    values = config_as_dict(Config())
    assert values["backbone"]["pool"] == "max"
    assert type(values["backbone"]["pool"]) is str
    assert flat(values)["optimizer.parametrization.kind"] == "fourier"
    assert flat({"a": {"b": {}, "c": 1}, "d": []}) == {"a.c": 1, "d": []}


@pytest.mark.parametrize("name", ["lbfgs", "adam"])
def test_a_composed_config_holds_plain_values_only(name: str) -> None:
    """No DictConfig or ListConfig travels past composition, and each optimizer has its class."""
    config = make_config([f"optimizer={name}", "resolution.sizes=[64,256]"])
    assert type(config.optimizer) is {"lbfgs": LBFGS, "adam": Adam}[name]
    for key, value, _ in walk(config):
        kinds = (bool, int, float, str, list, dict, type(None))
        assert type(value) in kinds or isinstance(value, Enum), key


def test_the_default_presets_change_only_backbones_and_loss() -> None:
    """Defaults are set in the schema alone."""
    composed, schema = flat(config_as_dict(make_config())), flat(config_as_dict(Config()))
    changed = {key.partition(".")[0] for key in composed if composed[key] != schema[key]}
    assert changed <= {"backbone", "reference", "loss"}
