"""The schema: its defaults, and that nothing beside it sets them."""

from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import sys
from enum import Enum

import pytest

from nst_exp.app.api import make_config
from nst_exp.app.compose import known_keys
from nst_exp.config import schema
from nst_exp.config.schema import LBFGS, Adam, Config
from nst_exp.config.serialize import config_as_dict, flat

CLASSES = [c for c in vars(schema).values() if dataclasses.is_dataclass(c)]


def test_default_config_is_the_schema_but_for_the_default_presets() -> None:
    """Defaults live in the schema alone; only backbone=vgg16 and loss=default add to it."""
    composed, plain = flat(config_as_dict(make_config())), flat(config_as_dict(Config()))
    differ = {key for key in composed if composed[key] != plain[key]}
    assert {key for key in differ if not key.startswith(("backbone.", "loss."))} == set()


def test_documented_defaults() -> None:
    """What the help and the README tell a user to expect of a bare command."""
    config = make_config()
    assert (config.content, config.style) == ("summer_palace", "starry_night")
    assert (config.size, config.seed, config.out, config.image) == (384, 0, None, "image.png")
    assert config.backbone.name == "vgg16"
    assert config.init.kind is schema.InitKind.content
    assert isinstance(config.optimizer, LBFGS)
    assert not config.resolution.pyramid
    assert config.trainer.precision == "32-true"


def test_optimizer_presets_give_their_own_class() -> None:
    assert type(make_config(["optimizer=lbfgs"]).optimizer) is LBFGS
    assert type(make_config(["optimizer=adam"]).optimizer) is Adam


def test_config_holds_plain_python_values_only() -> None:
    """No DictConfig or ListConfig travels past composition."""

    def walk(value: object) -> None:
        if dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                walk(getattr(value, field.name))
        elif type(value) in (list, dict):
            for item in value.values() if isinstance(value, dict) else value:
                walk(item)
        else:
            assert (
                value is None or isinstance(value, Enum) or type(value) in (bool, int, float, str)
            )

    walk(make_config(["optimizer.clamp=false", "resolution.sizes=[64,256]"]))


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_class_says_what_it_is(cls: type) -> None:
    assert cls.__doc__
    assert not cls.__doc__.startswith(f"{cls.__name__}(")  # dataclasses' own docstring


def test_known_keys_are_those_of_the_schema_and_the_groups() -> None:
    keys = set(known_keys())
    assert {"content", "loss.style.layers", "optimizer.history", "optimizer.beta1"} <= keys
    assert {"backbone", "experiment", "from_image"} <= keys
    assert not any(re.search(r"\s", key) for key in keys)


def test_schema_needs_no_torch() -> None:
    code = "import nst_exp.config.schema, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert "import torch" not in inspect.getsource(schema)
