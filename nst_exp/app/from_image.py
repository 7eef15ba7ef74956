"""``from_image=old.png``: the settings that made a picture, as overrides of the command line.

A picture may come from a stranger. Only keys of the schema are taken from it, with values of the
right type, none of which refers to anything (``${...}``); Hydra's own keys, which name code to run,
and where results go are not; weights are fetched only from addresses that a preset has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from nst_exp.app.compose import OPTIMIZERS, quoted, to_config, unknown_key
from nst_exp.config.schema import Config
from nst_exp.config.serialize import config_as_dict
from nst_exp.images import read_metadata
from nst_exp.utils.errors import ConfigError
from nst_exp.utils.paths import CONFIGS

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
    except (KeyError, ValueError, TypeError, RecursionError) as error:
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
    path = chosen[0].partition("=")[2].strip("'\"")
    presets = {a.partition("=")[0]: a for a in others if a.partition("=")[0] in _GROUPS}
    given = {a.partition("=")[0] for a in others}
    settings = _checked(path, read_settings(path)["config"])
    if not given & {"backbone", "backbone.sources"}:
        _refuse_strange_addresses(path, settings)
    _forget_default_layers(settings)
    choice = [] if "optimizer" in presets else [f"optimizer={settings['optimizer']['kind']}"]
    present = _composed(choice)
    single = [argument for argument in presets.values() if "," not in argument]  # no sweep
    brought = {key for key, _ in _differences(present, _composed([*choice, *single]))}
    old = {key: value for key, value in settings.items() if key not in presets}
    differences = [(k, v) for k, v in _differences(old, present) if k not in brought]
    return [*choice, *(f"{key}={written(value)}" for key, value in differences), *others]


def _checked(path: str, settings: dict[str, Any]) -> dict[str, Any]:
    """A picture's settings with the schema's types, or a ConfigError with all that is strange."""
    optimizer = settings.get("optimizer")
    kind = optimizer.get("kind") if isinstance(optimizer, dict) else None
    if not isinstance(kind, str) or kind not in OPTIMIZERS:
        raise ConfigError(f"from_image={path}: made with an unknown optimizer, {_short(kind)}")
    settings = {key: value for key, value in settings.items() if key not in _NOT_REPEATED}
    schema = OmegaConf.structured(Config(optimizer=OPTIMIZERS[kind]()))
    problems = list(_strange(settings, OmegaConf.to_container(schema)))
    if problems:
        raise ConfigError(f"from_image={path}: {problem}" for problem in problems)
    try:
        merged = OmegaConf.merge(schema, settings)
        typed = config_as_dict(cast(Config, OmegaConf.to_object(merged)))
    except (OmegaConfBaseException, YAMLError, ValueError, TypeError) as error:
        key = getattr(error, "full_key", None) or "the settings"
        reason = str(error).splitlines()[0]
        raise ConfigError(f"from_image={path}: {key}: {reason}") from error
    return _only(settings, typed)


def _strange(old: Any, like: Any, prefix: str = "") -> Iterator[str]:
    """What no settings of nst_exp hold: other keys, references, texts that cannot be written."""
    if isinstance(like, dict) and like and not isinstance(old, dict):
        yield f"{prefix[:-1]}: has keys of its own, and no value"
    elif isinstance(old, dict):
        for key, value in old.items():
            if isinstance(like, dict) and like and key not in like:
                yield unknown_key(_short(f"{prefix}{key}"))
            else:
                below = like.get(key) if isinstance(like, dict) else None
                yield from _strange(value, below, f"{prefix}{key}.")
    elif isinstance(old, list):
        for value in old:
            yield from _strange(value, None, prefix)
    elif isinstance(old, str):
        if "${" in old:
            yield f"{prefix[:-1]}={_short(old)}: refers to something; give the value yourself"
        elif "\0" in old or old == "???" or not _encodable(old):
            yield f"{prefix[:-1]}={_short(old)}: holds characters that no setting has"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a pair of surrogates, which JSON can hold
        return False
    return True


def _short(value: object) -> str:
    """A word of the picture's on one line, without commands to the terminal."""
    text = value if isinstance(value, str) else repr(value)
    text = text if len(text) <= 100 else f"{text[:99]}…"
    return text if text.isprintable() else ascii(text)


def _only(wanted: dict[str, Any], typed: dict[str, Any]) -> dict[str, Any]:
    """``typed`` without what an older picture does not say."""
    return {
        key: _only(value, typed[key]) if isinstance(value, dict) else typed[key]
        for key, value in wanted.items()
    }


def _refuse_strange_addresses(path: str, settings: dict[str, Any]) -> None:
    """A picture alone does not make the program ask a server that no preset names."""
    sources = settings.get("backbone", {}).get("sources", [])
    if not sources:
        return
    known = {_place(source) for source in _sources_of_presets()}
    for source in sources:
        if _place(source) not in known:
            where = _short(source["url"] or source["package"])
            raise ConfigError(
                f"from_image={path}: backbone.sources: {where} is in no preset; if you trust it, "
                "give backbone.sources=[...] yourself, else backbone=PRESET"
            )


def _sources_of_presets() -> Iterator[dict[str, Any]]:
    # Without nst_exp.weights, which brings torch and its seconds.
    for preset in sorted((CONFIGS / "backbone").glob("*.yaml")):
        content = OmegaConf.to_container(OmegaConf.load(preset))
        if isinstance(content, dict):
            yield from content.get("sources", [])


def _place(source: dict[str, Any]) -> tuple[str, ...]:
    """What a source would be fetched from."""
    filled = {"kind": "url", "url": "", "package": "", "member": "", **source}
    return tuple(str(filled[key]) for key in ("kind", "url", "package", "member"))


def _forget_default_layers(settings: dict[str, Any]) -> None:
    """Leave layers that the loss took from the backbone to the backbone again: it may change."""
    backbone, loss = settings.get("backbone", {}), settings.get("loss", {})
    for part in ("content", "style"):
        if loss.get(part, {}).get("layers") == backbone.get(f"{part}_layers"):
            loss[part]["layers"] = []
