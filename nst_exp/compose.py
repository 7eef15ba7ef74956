"""Hydra's composed config -> Config, with every unknown or missing key found."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher, get_close_matches
from functools import cache
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from nst_exp import config as schema
from nst_exp.config import LBFGS, Adam, Config, Optimizer
from nst_exp.errors import ConfigError, did_you_mean
from nst_exp.paths import CONFIGS

OPTIMIZERS: dict[str, type[Optimizer]] = {"lbfgs": LBFGS, "adam": Adam}


def register() -> None:
    """Give Hydra the schema, and experiments their ``${panel:KEY}``."""
    schema.register()
    OmegaConf.register_new_resolver("panel", _panel_value, replace=True)


def _tree(config: Config) -> dict[str, Any]:
    container = OmegaConf.to_container(OmegaConf.structured(config))
    return cast(dict[str, Any], container)


def _paths(node: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{key}.")


def groups() -> dict[str, list[str]]:
    """The groups of presets and the names in each."""
    return {
        folder.name: sorted(path.stem for path in folder.glob("*.yaml"))
        for folder in sorted(CONFIGS.iterdir())
        if folder.is_dir()
    }


@cache
def _keys_of(kind: str) -> list[str]:
    return list(_paths(_tree(Config(optimizer=OPTIMIZERS[kind]()))))


def known_keys() -> list[str]:
    """Every key that a command line may set, with its dots."""
    keys = [key for kind in OPTIMIZERS for key in _keys_of(kind)]
    return list(dict.fromkeys([*keys, *groups(), "from_image"]))


def quoted(text: str, quote: str = "'") -> str:
    """``text`` as a quoted string in the grammar of Hydra's overrides."""
    # Backslashes are doubled where a quotation mark or the end follows, and only there.
    return quote + re.sub(rf"(\\*)({quote}|$)", _escape, text) + quote


def _escape(match: re.Match[str]) -> str:
    return match[1] * 2 + (f"\\{match[2]}" if match[2] else "")


def unknown_key(key: str) -> str:
    """The line about a key that does not exist (there), with the nearest one that does."""
    known = known_keys()
    owners = [kind for kind in OPTIMIZERS if key in _keys_of(kind)]
    if key in known and 0 < len(owners) < len(OPTIMIZERS):
        return f"{key}: only with optimizer={' or '.join(owners)}"
    if key == "from_image":
        return "from_image: only on the command line, as from_image=PICTURE"
    # A key may be misspelt, or right but for the group it stands in.
    name = key.split(".")[-1]
    same_name = [other for other in known if other.split(".")[-1] == name]

    def likeness(other: str) -> float:
        return SequenceMatcher(None, key, other).ratio() + 0.3 * (other in same_name)

    close = same_name + get_close_matches(key, known, n=1, cutoff=0.5)
    if not close:
        by_name = {other.split(".")[-1]: other for other in reversed(known)}
        close = [by_name[other] for other in get_close_matches(name, by_name, n=1, cutoff=0.6)]
    nearest = max(close, key=likeness, default=None)
    hint = f"; did you mean '{nearest}'?" if nearest else "; see python -m nst_exp --help"
    return f"{key}: no such key{hint}"


def to_config(cfg: DictConfig) -> Config:
    """The typed config. ConfigError lists keys added with ``+`` or taken away with ``~``."""
    _check_panel(cfg)
    try:
        given = cast(
            dict[str, Any], OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        )
    except OmegaConfBaseException as error:
        missing = isinstance(error, MissingMandatoryValue)
        reason = "needs a value" if missing else str(error).splitlines()[0]
        raise ConfigError(f"{getattr(error, 'full_key', None) or 'config'}: {reason}") from error
    if isinstance(figure := given.get("figure"), dict):
        figure["panels"] = {}  # what the chosen one sets is in its place by now
    kind = given.get("optimizer", {}).get("kind")
    base = Config(optimizer=OPTIMIZERS.get(kind, LBFGS)())
    expected, found = set(_keys_of(base.optimizer.kind)), set(_paths(given))
    problems = [
        unknown_key(key) for key in sorted(found - expected) if not _inside(key, found - expected)
    ]
    problems += [
        f"{key}: this key cannot be taken away"
        for key in sorted(expected - found)
        if not _inside(key, expected - found)
    ]
    if problems:
        raise ConfigError(problems)
    try:
        return cast(Config, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(base), given)))
    except OmegaConfBaseException as error:
        raise ConfigError(
            f"{getattr(error, 'full_key', '')}: {str(error).splitlines()[0]}"
        ) from error


def _check_panel(cfg: DictConfig) -> None:
    """Refuse a panel that the experiment lacks, before any of its values is looked up."""
    panels = [str(name) for name in OmegaConf.select(cfg, "figure.panels") or {}]
    panel = OmegaConf.select(cfg, "panel")
    if panel is not None and not panels and not OmegaConf.select(cfg, "figure.title"):
        raise ConfigError(
            f"panel={panel}: only with an experiment that has panels, such as paper_fig3"
        )
    if panels and str(panel) not in panels:
        raise ConfigError(
            f"panel={panel}: must be one of {', '.join(panels)}{did_you_mean(str(panel), panels)}"
        )


def _panel_value(key: str, *, _root_: DictConfig) -> Any:
    """What the chosen panel sets: ``${panel:style}`` in an experiment's file."""
    return _root_.figure.panels[_root_.panel][key]


def _inside(key: str, keys: set[str]) -> bool:
    """Whether a parent of the key is in ``keys``, and says it already."""
    parts = key.split(".")
    return any(".".join(parts[:i]) in keys for i in range(1, len(parts)))
