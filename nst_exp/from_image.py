"""``from_image=old.png``: the settings that made a picture, as overrides of the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hydra import compose, initialize_config_dir

from nst_exp.compose import OPTIMIZERS, quoted, to_config
from nst_exp.errors import ConfigError
from nst_exp.images import read_metadata
from nst_exp.paths import CONFIGS
from nst_exp.record import config_as_dict

# Where a result goes is the new run's own affair; so is the figure that it was a part of.
_NOT_REPEATED = ("out", "overwrite", "panel", "figure")
_GROUPS = ("backbone", "loss", "init", "resolution", "trainer", "logging", "optimizer")


def written(value: Any) -> str:
    """A value in the grammar of Hydra's overrides."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return f"[{','.join(written(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{written(item)}" for key, item in value.items()) + "}"
    return quoted(str(value))


def read_settings(path: str) -> dict[str, Any]:
    """What a result's text chunk holds: config, inputs, weights, versions. ConfigError if none."""
    metadata = read_metadata(path, key="from_image")
    try:
        settings = json.loads(metadata["nst_exp"])
        if not isinstance(settings["config"], dict):
            raise ValueError
    except (KeyError, ValueError, TypeError) as error:
        raise ConfigError(
            f"from_image={path}: holds no settings; a PNG made by nst_exp is needed "
            "(another program may have removed them)"
        ) from error
    return dict(settings)


def _differences(
    old: dict[str, Any], new: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Key and old value of all that differs."""
    for key, value in old.items():
        if isinstance(value, dict) and isinstance(new.get(key), dict):
            yield from _differences(value, new[key], f"{prefix}{key}.")
        elif key not in new or new[key] != value:
            yield f"{prefix}{key}", value


def _composed(overrides: list[str]) -> dict[str, Any]:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        return config_as_dict(to_config(compose("config", overrides)))


def expand(arguments: list[str]) -> list[str]:
    """Replace ``from_image=PATH`` by the overrides that lead to that picture's config.

    The other arguments come behind and win. A preset that is chosen anew (``backbone=vgg19``)
    brings all that it sets: its whole group, and keys outside it such as beta.
    """
    chosen = [argument for argument in arguments if argument.startswith("from_image=")]
    if len(chosen) > 1:
        raise ConfigError("from_image: given twice")
    others = [argument for argument in arguments if argument not in chosen]
    settings = read_settings(chosen[0].partition("=")[2].strip("'\""))["config"]
    kind = settings.get("optimizer", {}).get("kind")
    if kind not in OPTIMIZERS:
        raise ConfigError(f"from_image: made with an unknown optimiser, {kind!r}")
    _forget_default_layers(settings)
    presets = {a.partition("=")[0]: a for a in others if a.partition("=")[0] in _GROUPS}
    choice = [] if "optimizer" in presets else [f"optimizer={kind}"]
    present = _composed(choice)
    single = [argument for argument in presets.values() if "," not in argument]  # no sweep
    brought = {key for key, _ in _differences(present, _composed([*choice, *single]))}
    old = {k: v for k, v in settings.items() if k not in _NOT_REPEATED and k not in presets}
    differences = [(k, v) for k, v in _differences(old, present) if k not in brought]
    return [*choice, *(f"{key}={written(value)}" for key, value in differences), *others]


def _forget_default_layers(settings: dict[str, Any]) -> None:
    """Leave layers that the loss took from the backbone to the backbone again: it may change."""
    backbone, loss = settings.get("backbone", {}), settings.get("loss", {})
    for part in ("content", "style"):
        if loss.get(part, {}).get("layers") == backbone.get(f"{part}_layers"):
            loss[part]["layers"] = []
