"""From Hydra's composed config to a typed ``Config``; every key and value is compared with it."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from nst_exp.app.known_keys import ONE_OR_MORE, OPTIMIZERS
from nst_exp.app.messages import NOT_GLOBAL, describe_error
from nst_exp.app.overrides import check_arguments
from nst_exp.config.keys import key
from nst_exp.config.output import folder_of, image_of
from nst_exp.config.schema import Config, Loss, Optimizer
from nst_exp.results.sweep_plan import folder_of_job
from nst_exp.utils.errors import ConfigError
from nst_exp.utils.paths import CONFIGS
from nst_exp.utils.suggest import did_you_mean

_HYDRAS_RESOLVERS = ("hydra", "now", "python_version")  # which it registers at each composition
COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException, YAMLError, RecursionError)


@dataclass
class _OpenLoss(Loss):
    more: dict[str, Any] = key({})


@dataclass
class _OpenConfig(Config):
    style: Any = key(Config().style[0])
    style_map: Any = key([])


def register() -> None:
    """Register the schema with Hydra, and the resolvers that configs use with OmegaConf."""
    store = ConfigStore.instance()
    # The type of optimizer is left open: each has keys of its own. So are the terms of
    # loss.more, to which single keys are added; to_config gives them their types.
    schema = OmegaConf.structured(_OpenConfig(optimizer=Optimizer(), loss=_OpenLoss()))
    OmegaConf.set_struct(schema.loss.more, False)
    OmegaConf.set_struct(schema.regions.content_weights, False)
    store.store(name="schema", node=schema)
    for kind, node in OPTIMIZERS.items():
        store.store(group="schema", name=kind, node=node)
    for name, resolver in _resolvers().items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def _resolvers() -> dict[str, Callable[..., Any]]:
    return {
        "nst_panel": _panel_value,
        "nst_first_style": _first_style,
        "nst_folder": _folder,
        "nst_job_folder": _job_folder,
    }


@contextmanager
def own_hydra() -> Iterator[None]:
    """Compose with this package's schemas and resolvers; the caller's Hydra is restored afterwards.

    Hydra merges a file with the schema of the same name, so a caller's schemas called "config" or
    "optimizer/adam" are out of its sight. The group "hydra" stays: plugins store their schemas in
    it.
    """
    store, loaded = ConfigStore.instance(), GlobalHydra.instance()
    job, version = JobRuntime.instance(), VersionBase.instance()
    earlier = store.repo, loaded.hydra, job.conf, version.version_base
    Plugins.instance()  # loads those that have not been loaded; they add to the store
    names = (*_resolvers(), *_HYDRAS_RESOLVERS)
    fresh = [name for name in names if not OmegaConf.has_resolver(name)]
    store.repo, loaded.hydra, job.conf = {"hydra": store.repo["hydra"]}, None, job.conf.copy()
    try:
        register()
        yield
    finally:
        GlobalHydra.set_instance(loaded)  # Hydra leaves a copy
        store.repo, loaded.hydra, job.conf, version.version_base = earlier
        for name in filter(OmegaConf.has_resolver, fresh):
            OmegaConf.clear_resolver(name)


def _panel_value(key: str, *, _root_: DictConfig) -> Any:
    """Look up what the chosen panel sets: ``${nst_panel:style}`` in an experiment's file."""
    return _root_.figure.panels[_root_.panel][key]


def _first_style(*, _root_: DictConfig) -> str:
    """Return the first style image, for textures, whose content image sets the size only."""
    return str(_root_.style if isinstance(_root_.style, str) else _root_.style[0])


def _folder(out: str | None, name: str, date: str, time: str) -> str:
    return str(folder_of(out)) if out else f"outputs/{name}/{date}_{time}"


def _job_folder(sweep: str, number: Any, overrides: Sequence[str]) -> str:
    return folder_of_job(Path(sweep), int(number) if str(number).isdigit() else 0, overrides)


def make_config(overrides: Sequence[str] = ()) -> Config:
    """Compose the config of a command line with these overrides.

    Raises:
        ConfigError: With every unknown key or preset and every value of a wrong type.
    """
    try:
        with own_hydra():
            overrides = check_arguments(overrides)
            with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
                return to_config(compose("config", overrides))
    except COMPOSITION_ERRORS as error:
        raise ConfigError(describe_error(error)) from error


def to_config(cfg: DictConfig) -> Config:
    """Convert a composed config to the typed one; Hydra's own section is left out.

    Raises:
        ConfigError: For a key that the schema lacks, or a value of a wrong type.
    """
    cfg = OmegaConf.masked_copy(cfg, [str(name) for name in cfg if name != "hydra"])
    _check_panel(cfg)
    try:
        given = cast(
            dict[str, Any], OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        )
        if "experiment" in given:
            raise ConfigError(NOT_GLOBAL)
        if isinstance(figure := given.get("figure"), dict):
            figure["panels"] = {}  # the values of the chosen panel are in their places by now
        for name in ONE_OR_MORE:
            if not isinstance(given[name], list):
                given[name] = [given[name]]
        if file := image_of(given["out"]):
            if given["image"] not in (file.name, Config().image):
                raise ConfigError(
                    f"image={given['image']}: out={file} names the image; leave it out"
                )
            given["image"] = file.name
        kind = given["optimizer"]["kind"]
        if kind not in OPTIMIZERS:
            raise ConfigError(f"optimizer.kind={kind}: must be one of {', '.join(OPTIMIZERS)}")
        base = OmegaConf.structured(Config(optimizer=OPTIMIZERS[kind]()))
        return cast(Config, OmegaConf.to_object(OmegaConf.merge(base, escape(given))))
    except OmegaConfBaseException as error:
        raise ConfigError(describe_error(error)) from error


def escape(value: Any) -> Any:
    """Escape ``${`` in texts, also inside lists and dicts, so that it is meant literally."""
    if isinstance(value, dict):
        return {key: escape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escape(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + "\\${", value)
    return value


def _check_panel(cfg: DictConfig) -> None:
    """Refuse a panel that the experiment lacks, before any of its values is looked up."""
    panels = [str(name) for name in OmegaConf.select(cfg, "figure.panels") or {}]
    panel = OmegaConf.select(cfg, "panel")
    if panel is not None and not panels and not OmegaConf.select(cfg, "figure.title"):
        raise ConfigError(
            f"panel={panel}: the experiment has no panels; choose one that has, such as paper_fig3"
        )
    if panels and str(panel) not in panels:
        raise ConfigError(
            f"panel={panel}: must be one of {', '.join(panels)}{did_you_mean(str(panel), panels)}"
        )
