"""Bounds, choices and help of the keys, and what is refused because of them."""

from __future__ import annotations

import math
from enum import Enum
from typing import Any

import pytest

from nst_exp.config.keys import walk
from nst_exp.config.schema import LBFGS, Adam, Config
from nst_exp.config.validate import value_problems

KEYS = {
    name: (value, info)
    for optimizer in (LBFGS(), Adam())
    for name, value, info in walk(Config(optimizer=optimizer))
}
BOUNDED = [name for name, (_, info) in KEYS.items() if info.allowed() and not info.choices]
FLOATS = [name for name, (value, _) in KEYS.items() if isinstance(value, float)]
WORDS = [
    name
    for name, (value, info) in KEYS.items()
    if info.choices and not isinstance(value, Enum) and name != "bit_depth"
]


def problems(name: str, value: Any) -> list[str]:
    """Return the lines about a key that has this value, as the only entry if it is a list."""
    config = Config(optimizer=LBFGS() if hasattr(LBFGS(), name.split(".")[-1]) else Adam())
    *path, last = name.split(".")
    node: Any = config
    for part in path:
        node = getattr(node, part)
    setattr(node, last, [value] if isinstance(KEYS[name][0], list) else value)
    return list(value_problems(config))


@pytest.mark.parametrize("name", BOUNDED)
def test_bounds(name: str) -> None:
    default, info = KEYS[name]
    small = 1e-12 if isinstance(default, float) else 1
    if math.isfinite(info.above):
        good, bad = [info.above + small], [info.above, info.above - small]
    else:
        good = [bound for bound in info.bounds if math.isfinite(bound)]
        bad = [info.bounds[0] - small, info.bounds[1] + small][: len(good)]
    for value in good:
        assert problems(name, value) == []
    for value in bad:
        (line,) = problems(name, value)
        assert line.startswith(f"{name}=")
        assert line.endswith(f"must be {info.allowed()}")


def test_every_number_of_the_schema_is_bounded() -> None:
    numbers = {
        name
        for name, (value, _) in KEYS.items()
        for entry in (value if isinstance(value, list) else [value])
        if isinstance(entry, int | float) and not isinstance(entry, bool)
    }
    assert numbers - {*BOUNDED, "bit_depth"} == {"init.noise_mean"}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", FLOATS)
def test_numbers_must_be_finite(name: str, value: float) -> None:
    assert problems(name, value) == [f"{name}={value}: must be a finite number"]


@pytest.mark.parametrize("name", WORDS)
def test_choices(name: str) -> None:
    choices = KEYS[name][1].choices
    for choice in choices:
        assert problems(name, choice) == []
    (line,) = problems(name, choices[-1][:-1])
    assert line.endswith(f"one of {', '.join(choices)}; did you mean '{choices[-1]}'?")


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("bit_depth", 12, "bit_depth=12: must be one of 8, 16"),
        ("alpha", -1.0, "alpha=-1.0: must be at least 0"),
        ("size", 0, "size=0: must be from 1 to 65535"),
        ("optimizer.lr", 0.0, "optimizer.lr=0.0: must be greater than 0"),
        ("loss.style.weights", -1.5, "loss.style.weights=[-1.5]: every value must be at least 0"),
        ("content", "caf\udce9.jpg", r"content=caf\udce9.jpg: must be UTF-8; use another name"),
    ],
)
def test_messages(name: str, value: Any, line: str) -> None:
    assert problems(name, value) == [line]


def test_every_problem_is_reported_in_the_order_of_the_schema() -> None:
    config = Config(steps=0, size=-1, alpha=-1.0)
    said = [line.partition(":")[0] for line in value_problems(config)]
    assert said == ["alpha=-1.0", "steps=0", "size=-1"]


def test_mutable_defaults_are_copied() -> None:
    Config().loss.style.layers.append("relu1_1")
    assert Config().loss.style.layers == []


def test_choices_of_an_enum_are_its_members() -> None:
    assert KEYS["backbone.pool"][1].choices == ("max", "average", "l2")
