"""Hydra's composed config -> Config, with every unknown or missing key found."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from difflib import SequenceMatcher, get_close_matches
from functools import cache
from typing import Any, cast

from hydra.conf import HydraConf
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from nst_exp.config.presets import groups
from nst_exp.config.schema import LBFGS, Adam, Config, Optimizer
from nst_exp.utils.errors import ConfigError
from nst_exp.utils.suggest import did_you_mean

NEEDS_PRESET = "a group needs a preset; choose another one"  # what follows is how
OPTIMIZERS: dict[str, type[Optimizer]] = {"lbfgs": LBFGS, "adam": Adam}


def register() -> None:
    """Give Hydra the schema, and experiments their ``${panel:KEY}``."""
    store = ConfigStore.instance()
    # The optimizer is left open: LBFGS and Adam have different keys.
    store.store(name="schema", node=Config(optimizer=Optimizer()))
    store.store(group="schema", name="lbfgs", node=LBFGS)
    store.store(group="schema", name="adam", node=Adam)
    OmegaConf.register_new_resolver("panel", _panel_value, replace=True)


def _tree(config: Config) -> dict[str, Any]:
    container = OmegaConf.to_container(OmegaConf.structured(config))
    return cast(dict[str, Any], container)


def _paths(node: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{key}.")


@cache
def _keys_of(kind: str) -> list[str]:
    return list(_paths(_tree(Config(optimizer=OPTIMIZERS[kind]()))))


def known_keys() -> list[str]:
    """Every key that a command line may set, with its dots."""
    keys = [key for kind in OPTIMIZERS for key in _keys_of(kind)]
    return list(dict.fromkeys([*keys, *groups(), "from_image"]))


@cache
def hydra_keys() -> list[str]:
    """Hydra's own keys and groups, and those of the plugins that are installed."""
    conf = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.structured(HydraConf)))
    keys = [f"hydra.{key}" for key in _paths(conf)]
    repository = ConfigStore.instance().repo.get("hydra", {})
    for group, presets in repository.items():
        if not isinstance(presets, dict):
            continue
        keys.append(f"hydra/{group}")
        for preset in presets.values():
            if node := getattr(preset, "node", None):
                settings = OmegaConf.to_container(node)
                if isinstance(settings, dict):
                    keys += [f"hydra.{group}.{key!s}" for key in settings]
    return list(dict.fromkeys(keys))


def quoted(text: str, quote: str = "'") -> str:
    """``text`` as a quoted string in the grammar of Hydra's overrides."""
    # Backslashes are doubled where a quotation mark or the end follows, and only there.
    return quote + re.sub(rf"(\\*)({quote}|$)", _escape, text) + quote


def _escape(match: re.Match[str]) -> str:
    return match[1] * 2 + (f"\\{match[2]}" if match[2] else "")


def unknown_key(key: str) -> str:
    """The line about a key that does not exist (there), with the nearest one that does."""
    owner = re.split(r"[./]", key)[0]
    hydras = owner != key and get_close_matches(owner, ["hydra"], cutoff=0.7)
    known = hydra_keys() if hydras else known_keys()
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
    """The typed config of what Hydra has composed on the schema, without its own part.

    ConfigError lists keys added with ``+`` or taken away with ``~``.
    """
    _check_panel(cfg)
    given = _resolved(cfg)
    if "experiment" in given:
        raise ConfigError(
            "experiment: its file must begin with the line '# @package _global_' and hold KEY: "
            "VALUE; on the command line write +experiment=NAME"
        )
    if isinstance(figure := given.get("figure"), dict):
        figure["panels"] = {}  # what the chosen one sets is in its place by now
    kind = _optimizer(given)
    expected, found = set(_keys_of(kind)), set(_paths(given))
    problems = [unknown_key(key) for key in _outermost(found - expected)]
    problems += [
        f"{key}: this key cannot be taken away"
        for key in sorted(expected - found)
        if not _inside(key, expected - found)
    ]
    if problems:
        raise ConfigError(problems)
    if "${" in str(OmegaConf.to_container(cfg)):  # what a key refers to gets the type of the key
        cfg = _merged(kind, given)
    config = cast(Config, OmegaConf.to_object(cfg))
    if not isinstance(config.optimizer, OPTIMIZERS[kind]):  # put together by hand, with ~ and +
        raise ConfigError(f"~optimizer: {NEEDS_PRESET}, optimizer=NAME")
    config.figure.panels = {}
    return config


def _merged(kind: str, given: dict[str, Any]) -> DictConfig:
    """``given`` on the schema with this optimizer's keys. ConfigError for a wrong type."""
    try:
        base = OmegaConf.structured(Config(optimizer=OPTIMIZERS[kind]()))
        return cast(DictConfig, OmegaConf.merge(base, _literal(given)))
    except OmegaConfBaseException as error:
        raise ConfigError(
            f"{getattr(error, 'full_key', '')}: {str(error).splitlines()[0]}"
        ) from error


def _literal(value: Any) -> Any:
    """All is resolved: what looks like ``${...}`` by now is meant as it stands."""
    if isinstance(value, dict):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_literal(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + "\\${", value)
    return value


def _resolved(cfg: DictConfig) -> dict[str, Any]:
    """Plain values; ConfigError for what is missing or refers to nothing."""
    try:
        container = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = str(getattr(error, "full_key", None) or "config")
        if isinstance(error, MissingMandatoryValue):
            raise ConfigError(f"{key}=???: needs a value") from error
        reason = str(error).splitlines()[0]
        if match := re.search(r"Interpolation key '(.*?)' not found", reason):
            reason = f"there is no key '{match[1]}'{did_you_mean(match[1], known_keys())}"
        elif match := re.search(r"raised while resolving interpolation: (.*)", reason):
            reason = match[1].strip("\"'")
        if not reason.endswith("?"):
            reason += "; a dollar sign of the value itself is written \\$"
        raise ConfigError(f"{key}={_raw(cfg, key)}: {reason}") from error
    return cast(dict[str, Any], container)


def _raw(cfg: DictConfig, key: str) -> Any:
    """The value as it was written, with its ``${...}``."""
    node: Any = OmegaConf.to_container(cfg, resolve=False)
    for name in re.findall(r"[^.\[\]]+", key):
        node = node[int(name)] if isinstance(node, list) else node.get(name, "")
    return node


def _optimizer(given: Mapping[str, Any]) -> str:
    """The optimizer's kind. ConfigError if its keys are not those of a preset's."""
    settings = given.get("optimizer")
    names = " or ".join(f"optimizer={name}" for name in sorted(OPTIMIZERS))
    if not isinstance(settings, Mapping):
        raise ConfigError(f"~optimizer: {NEEDS_PRESET}, optimizer=NAME")
    kind = settings.get("kind")
    if not any(_own(name) & set(settings) for name in OPTIMIZERS):
        raise ConfigError(f"~optimizer: {NEEDS_PRESET}, optimizer=NAME")
    if kind not in OPTIMIZERS or not _own(str(kind)) & set(settings):
        raise ConfigError(f"optimizer.kind={kind}: the preset sets it; choose {names}")
    return str(kind)


def _own(kind: str) -> set[str]:
    """The keys that this optimizer alone has."""
    return {f.name for f in fields(OPTIMIZERS[kind])} - {f.name for f in fields(Optimizer)}


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


def _outermost(keys: set[str]) -> list[str]:
    """Without those inside others; a branch that holds a single key is named by that key."""
    named: list[str] = []
    for key in sorted(keys):
        if _inside(key, keys):
            continue
        below = [other for other in keys if other.startswith(f"{key}.")]
        ends = [other for other in below if not any(o.startswith(f"{other}.") for o in below)]
        named.append(ends[0] if len(ends) == 1 else key)
    return named


def _inside(key: str, keys: set[str]) -> bool:
    """Whether a parent of the key is in ``keys``, and says it already."""
    parts = key.split(".")
    return any(".".join(parts[:i]) in keys for i in range(1, len(parts)))
