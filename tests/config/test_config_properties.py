"""Any settings that are valid are composed and come back; any that are not are refused by name."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from nst_exp.app.api import make_config
from nst_exp.app.compose import quoted, register, to_config
from nst_exp.app.from_image import written
from nst_exp.config import schema
from nst_exp.config.keys import walk
from nst_exp.config.schema import Adam, Config
from nst_exp.config.serialize import config_as_dict
from nst_exp.config.validate import value_problems
from nst_exp.runner.validate import validate
from nst_exp.utils.errors import ConfigError

# Composition takes a tenth of a second: few examples of it, many of what is cheap.
few = settings(max_examples=5, deadline=None)
many = settings(max_examples=60, deadline=None)

ADAM_ONLY = {"optimizer.beta1", "optimizer.beta2", "optimizer.eps"}
FINITE = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12)
# What a command line can hold: anything but NUL and halves of surrogate pairs.
TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=12)


def value_of(default: Any) -> st.SearchStrategy[Any]:
    """Values of the type of a key's default."""
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, Enum):
        return st.sampled_from(list(type(default)))
    if isinstance(default, int):
        return st.integers(0, 2**40)
    if isinstance(default, float):
        return FINITE
    if isinstance(default, str):
        return TEXT.filter(lambda text: "${" not in text and text != "???")
    return st.nothing()


def leaves(node: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> default, of the keys that hold a single value."""
    found: dict[str, Any] = {}
    for entry in fields(node):
        value = getattr(node, entry.name)
        key = f"{prefix}{entry.name}"
        if is_dataclass(value):
            found |= leaves(value, f"{key}.")
        elif value is not None and not isinstance(value, list | dict):
            found[key] = value
    # The kind of an optimizer is its preset's; a panel needs an experiment.
    return {key: value for key, value in found.items() if key != "optimizer.kind"}


LEAVES = leaves(Config())
NUMBERS = sorted(key for key, default in LEAVES.items() if isinstance(default, float))


@st.composite
def valid(draw: st.DrawFn) -> dict[str, Any]:
    """Values for some keys."""
    keys = draw(st.lists(st.sampled_from(sorted(LEAVES)), min_size=1, max_size=8, unique=True))
    return {key: draw(value_of(LEAVES[key])) for key in keys}


def override(key: str, value: Any) -> str:
    """As on the command line."""
    return f"{key}={value.name if isinstance(value, Enum) else written(value)}"


def at(config: Config, key: str) -> Any:
    """The value of a dotted key."""
    node: Any = config
    for name in key.split("."):
        node = getattr(node, name)
    return node


def put(config: Config, key: str, value: Any) -> Config:
    """Set a dotted key."""
    owner, _, name = key.rpartition(".")
    setattr(at(config, owner) if owner else config, name, value)
    return config


@few
@given(valid())
def test_valid_values_arrive_from_the_command_line(values: dict[str, Any]) -> None:
    config = make_config([override(key, value) for key, value in values.items()])
    assert {key: at(config, key) for key in values} == values


@few
@given(valid(), st.booleans())
def test_a_config_is_the_same_after_a_record(values: dict[str, Any], adam: bool) -> None:
    register()
    config = Config(optimizer=Adam() if adam else schema.LBFGS())
    for key, value in values.items():
        if key.split(".")[-1] in {f.name for f in fields(Adam)} or not key.startswith("optimizer."):
            put(config, key, value)
    plain = config_as_dict(config)
    on_the_schema = OmegaConf.structured(Config(optimizer=type(config.optimizer)()))
    assert to_config(OmegaConf.merge(on_the_schema, plain)) == config  # type: ignore[arg-type]
    assert config_as_dict(config) == plain


@many
@given(TEXT, st.sampled_from("'\""))
def test_any_text_survives_quoting(text: str, quote: str) -> None:
    (read,) = OverridesParser.create().parse_overrides([f"content={quoted(text, quote)}"])
    assert read.value() == text


BOUNDED = {
    key: (value, info)
    for key, value, info in [*walk(Config()), *walk(Adam(), "optimizer.")]
    if info.allowed() and not info.choices
}


@many
@given(st.data())
def test_numbers_outside_the_bounds_are_refused_by_name(data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(BOUNDED)))
    default, info = BOUNDED[key]
    low, high = max(info.bounds[0], info.above), info.bounds[1]
    values = [st.floats(max_value=low, exclude_max=info.above < low, allow_infinity=False)]
    if high < math.inf:
        values.append(st.floats(min_value=high, exclude_min=True, allow_infinity=False))
    value = data.draw(st.one_of(values))
    config = Config(optimizer=Adam() if key in ADAM_ONLY else schema.LBFGS())
    put(config, key, [value] if isinstance(default, list) else value)
    with pytest.raises(ConfigError) as caught:
        validate(config)
    said = next(line for line in caught.value.problems if line.startswith(f"{key}="))
    assert said.endswith(f"must be {info.allowed()}")


@pytest.mark.parametrize("key", sorted(BOUNDED))
def test_the_bounds_themselves_are_allowed(key: str) -> None:
    default, info = BOUNDED[key]
    for value in {*info.bounds} - {math.inf, -math.inf}:
        config = Config(optimizer=Adam() if key in ADAM_ONLY else schema.LBFGS())
        put(config, key, [value] if isinstance(default, list) else value)
        assert not [line for line in value_problems(config) if line.startswith(f"{key}=")]


@many
@given(st.sampled_from(NUMBERS), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_no_number_may_be_infinite_or_none(key: str, value: float) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(put(Config(), key, value))
    assert f"{key}={value}: must be a finite number" in caught.value.problems
