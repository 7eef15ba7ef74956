"""Read the backbone presets without Hydra: what ``fetch`` needs to know of them."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from nst_exp.config.schema import Backbone
from nst_exp.utils import paths
from nst_exp.utils.errors import ConfigError
from nst_exp.utils.suggest import did_you_mean


def preset_names() -> list[str]:
    """The presets in ``configs/backbone``, sorted."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def read_preset(name: str) -> Backbone:
    """The backbone of a preset, checked against the schema. Raises ``ConfigError``."""
    if name not in preset_names():
        raise ConfigError(
            f"backbone={name}: no such preset{did_you_mean(name, preset_names())} "
            f"(known: {', '.join(preset_names()) or 'none'})"
        )
    try:
        merged = OmegaConf.merge(OmegaConf.structured(Backbone), *_layers(name, seen=set()))
        return cast(Backbone, OmegaConf.to_object(merged))
    except (OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(f"{_folder() / name}.yaml: {error}") from error


def name_of(backbone: Backbone) -> str | None:
    """The preset that gives ``backbone`` its weights, if there is one."""
    for name in preset_names():
        try:
            preset = read_preset(name)
        except ConfigError:
            continue
        if (preset.name, preset.sources) == (backbone.name, backbone.sources):
            return name
    return None


def _folder() -> Path:
    return paths.CONFIGS / "backbone"


def _layers(name: str, seen: set[str]) -> list[DictConfig]:
    """The preset's keys, behind those of the presets in the same folder that it builds on."""
    if name in seen:
        raise ConfigError(f"{_folder() / name}.yaml: builds on itself")
    preset = OmegaConf.load(_folder() / f"{name}.yaml")
    if not isinstance(preset, DictConfig):
        raise ConfigError(f"{_folder() / name}.yaml: holds no keys")
    layers: list[DictConfig] = []
    for entry in preset.pop("defaults", []):
        # Hydra's forms: name, /backbone/name, name@package; entries of other groups do not matter.
        base = str(entry).partition("@")[0].removeprefix("/backbone/")
        if base in preset_names():
            layers += _layers(base, seen | {name})
    return [*layers, preset]
