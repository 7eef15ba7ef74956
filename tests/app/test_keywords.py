"""Settings given in Python."""

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nst_exp
from nst_exp.app.compose import make_config
from nst_exp.app.keywords import to_overrides
from nst_exp.config.schema import ColorMode, Config
from nst_exp.utils.errors import ConfigError


def overrides(given: Any = (), **settings: Any) -> list[str]:
    return to_overrides(given, settings, Path("unused"))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"size": 512, "beta": 0.5}, ["size=512", "beta=0.5"]),
        ({"size": np.int64(512)}, ["size=512"]),
        ({"loss": "jcjohnson"}, ["loss=jcjohnson"]),
        ({"experiment": "paper_fig3"}, ["+experiment=paper_fig3"]),
        ({"steps": None, "force": True}, ["steps=null", "force=true"]),
        ({"color": ColorMode.luminance}, ["color=luminance"]),
        ({"init": {"kind": "noise"}}, ["init.kind=noise"]),
        ({"style": ["a.jpg", Path("b c.jpg")]}, ["style=[a.jpg,'b c.jpg']"]),
        ({"resolution": {"levels": [{"scale": 0.5}]}}, ["resolution.levels=[{scale: 0.5}]"]),
    ],
)
def test_keywords_become_overrides(settings: dict[str, Any], expected: list[str]) -> None:
    assert overrides(**settings) == expected


@pytest.mark.parametrize(
    "given",
    [
        ["size=64", "loss.tv.weight=3"],
        "size=64 loss.tv.weight=3",
        {"size": 64, "loss.tv.weight": 3},
        {"size": 64, "loss": {"tv": {"weight": 3}}},
    ],
)
def test_forms_of_overrides(given: Any) -> None:
    config = nst_exp.make_config(given, beta=2)
    assert (config.size, config.loss.tv.weight, config.beta) == (64, 3, 2)


@pytest.mark.parametrize("text", ["null", "1e3", "a, b", "it's", "${x}", "[a]", "~/a b.jpg", "ä"])
def test_texts_are_meant_literally(text: str) -> None:
    assert make_config(overrides(content=text)).content == text


def test_keywords_win_over_overrides() -> None:
    assert nst_exp.make_config(["size=64"], size=128).size == 128


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sise": 3}, "sise: no such key; did you mean 'size'?"),
        ({"size": "big"}, "size=big: must be a whole number"),
        ({"loss": "jcjonson"}, "no such preset; did you mean 'jcjohnson'?"),
        ({"init": {"kin": "noise"}}, "init.kin: no such key; did you mean 'init.kind'?"),
        ({"content": 3}, "content=3: a value of type int; give a path"),
        ({"beta": object}, "beta: a value of type type; give a text, a number"),
        ({"overrides": 3}, "overrides=3: must be a text, a list of texts or a dict"),
    ],
)
def test_mistake_is_one_short_exception(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        nst_exp.stylize(**settings)
    assert message in str(raised.value)
    assert len(raised.traceback) == 2  # this call, and stylize() itself
    assert raised.value.__suppress_context__


def test_completion_knows_every_key() -> None:
    names = {field.name for field in fields(Config)} | {"experiment", "overrides", "callback"}
    assert names <= inspect.signature(nst_exp.stylize).parameters.keys()
    assert "settings" not in inspect.signature(nst_exp.stylize).parameters
