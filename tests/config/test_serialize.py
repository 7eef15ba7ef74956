"""Configs as plain values, and back again."""

import json
from enum import Enum
from typing import Any

import pytest
from omegaconf import OmegaConf

from nst_exp.app.compose import make_config, to_config
from nst_exp.app.known_keys import OPTIMIZERS
from nst_exp.config.keys import walk
from nst_exp.config.schema import Config
from nst_exp.config.serialize import config_as_dict, flat, plain


def other(value: Any) -> Any:
    """Return another value of the same type; None if there is none."""
    if isinstance(value, Enum):
        return next(member for member in type(value) if member is not value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return 'ä "x" \'$\\ {y}: [1, 2]\n'
    return (
        value / 3 + 7 if isinstance(value, float) else value + 7 if isinstance(value, int) else None
    )


def changed_values(config: Config) -> dict[str, Any]:
    """Return another value for every key with a simple value."""
    values = {name: other(value) for name, value, _ in walk(config) if name != "optimizer.kind"}
    return {name: value for name, value in values.items() if value is not None}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_values_arrive_from_the_command_line_as_plain_ones(name: str) -> None:
    """No DictConfig or ListConfig travels past composition, and each optimizer has its class."""
    changes = {
        key: value
        for key, value in changed_values(Config(optimizer=OPTIMIZERS[name]())).items()
        if isinstance(value, Enum) or not isinstance(value, str)
    }
    typed = [f"{key}={plain(value)}" for key, value in changes.items()]
    config = make_config([f"optimizer={name}", "resolution.sizes=[64,256]", *typed])
    assert type(config.optimizer) is OPTIMIZERS[name]
    found = {key: value for key, value, _ in walk(config)}
    assert {key: found[key] for key in changes} == changes
    for key, value in found.items():
        kinds = (bool, int, float, str, list, dict, type(None))
        assert type(value) in kinds or isinstance(value, Enum), key


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_config_is_the_same_after_a_record(name: str) -> None:
    config = Config(optimizer=OPTIMIZERS[name]())
    for key, value in changed_values(config).items():
        *path, last = key.split(".")
        node: Any = config
        for part in path:
            node = getattr(node, part)
        setattr(node, last, value)
    record = json.loads(json.dumps(config_as_dict(config)))
    record["style"] = [record["style"]]  # a single style is recorded as a text
    schema = OmegaConf.structured(Config(optimizer=OPTIMIZERS[name]()))
    assert to_config(OmegaConf.merge(schema, record)) == config  # type: ignore[arg-type]


def test_enums_become_names_and_keys_dotted() -> None:
    values = config_as_dict(Config())
    assert type(values["backbone"]["pool"]) is str
    assert flat(values)["optimizer.parametrization.kind"] == "fourier"
    assert flat({"a": {"b": {}, "c": 1}, "d": []}) == {"a.c": 1, "d": []}


def test_the_default_presets_change_only_backbones_and_loss() -> None:
    """Defaults are set in the schema alone."""
    composed, schema = flat(config_as_dict(make_config())), flat(config_as_dict(Config()))
    changed = {key.partition(".")[0] for key in composed if composed[key] != schema[key]}
    assert changed <= {"backbone", "reference", "loss"}
