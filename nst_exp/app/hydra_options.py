"""Hydra's own part of a command line: its options, and its keys ``hydra.*``."""

import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from os.path import expanduser, isdir
from typing import Any, cast

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from nst_exp.app.known_keys import known_keys
from nst_exp.config.serialize import flat
from nst_exp.utils.errors import ConfigError
from nst_exp.utils.paths import CONFIGS
from nst_exp.utils.suggest import did_you_mean

# Options of Hydra's command line: their short forms, those that exclude one another, others.
_SHORT = {
    **{"-r": "--run", "-m": "--multirun", "-c": "--cfg", "-i": "--info", "-h": "--help"},
    **{"-sc": "--shell-completion", "-p": "--package", "-cd": "--config-dir"},
    **{"-cp": "--config-path", "-cn": "--config-name"},
}
_COMMANDS = ("--run", "--multirun", "--cfg", "--info")
_FLAGS = ("--run", "--multirun", "--help", "--hydra-help", "--version", "--resolve")
# Those that replace the whole config.
_REFUSED = ("--config-path", "--config-name", "--experimental-rerun")
_VALUED = ("--cfg", "--info", "--shell-completion", "--package", "--config-dir", *_REFUSED)
_KNOWN = (*_FLAGS, *_VALUED, *_SHORT)
_CHOICES = {
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}
# Hydra's own keys that can be set, and what to use instead of others.
_KEYS = ("launcher", "sweeper", "verbose", "job.env_set")
_INSTEAD = {
    "hydra.run": "choose the folder with out=DIR",
    "hydra.sweep": "choose the folder with out=DIR, in which each job has one of its own",
    "hydra.job.chdir": "paths are relative to the folder where the command starts; leave it out",
    "hydra.mode": "add -m for a sweep, or leave it out",
    "hydra.job_logging": "hydra.verbose=true logs more",
    "hydra.searchpath": "add a folder of presets with --config-dir DIR",
}
# Presets of Hydra's plugins -> the plugin, which is also the extra that installs it.
PLUGINS = {
    "hydra/launcher=joblib": "joblib_launcher",
    "hydra/launcher=submitit_local": "submitit_launcher",
    "hydra/launcher=submitit_slurm": "submitit_launcher",
    "hydra/launcher=ray": "ray_launcher",
    "hydra/sweeper=optuna": "optuna_sweeper",
}


def split_arguments(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Split a command line into Hydra's options, in their long forms with values, and overrides."""
    options: dict[str, str] = {}
    overrides: list[str] = []
    rest = iter(arguments)
    for text in rest:
        if text.startswith("-"):
            name, _, value = text.partition("=")
            name = _SHORT.get(name, name)
            value = value or (next(rest, "") if name in _VALUED else "")
            options[name] = expanduser(value) if name == "--config-dir" else value
        else:
            overrides.append(text)
    return options, overrides


def is_option(text: str) -> bool:
    """Tell whether a text is an option of Hydra's, with or without its value."""
    return text.partition("=")[0] in _KNOWN


def takes_next(text: str) -> bool:
    """Tell whether the value of an option is the text after it."""
    return _SHORT.get(text, text) in _VALUED


def option_problems(options: dict[str, str]) -> Iterator[str]:
    """Yield a line for each option that Hydra lacks, or that cannot be used so."""
    if len(commands := [name for name in options if name in _COMMANDS]) > 1:
        yield f"{' '.join(commands)}: exclude one another; choose one"
    if refused := [name for name in options if name in _REFUSED]:
        yield (
            f"{' '.join(refused)}: is not used here; repeat a run with from_image=IMAGE, or with "
            "the overrides in its result.json; for presets of your own use --config-dir DIR"
        )
    for name, value in options.items():
        if name not in _KNOWN:
            yield _unknown_option(name)
        elif name not in _VALUED and value:
            yield f"{name}={value}: takes no value; write {name}"
        elif name in _CHOICES and value not in _CHOICES[name]:
            yield f"{name}={value}: must be one of {', '.join(_CHOICES[name])}"
        elif name == "--config-dir" and not isdir(value):
            yield f"--config-dir={value}: no such folder; name a folder of presets"
        elif name in ("--resolve", "--package") and "--cfg" not in options:
            yield f"{name}: only with --cfg job; add that, or leave it out"
        elif name == "--package" and value not in (*known_keys(), "hydra", "_global_"):
            yield f"--package={value}: no such section{did_you_mean(value, known_keys())}"


def _unknown_option(name: str) -> str:
    """Word the problem of an option: mostly a key with dashes, as other programs have it."""
    key = name.lstrip("-").replace("-", "_")
    same = next((known for known in known_keys() if key == known.split(".")[-1]), None)
    if same is None and (near := did_you_mean(name, _KNOWN)):
        return f"{name}: no such option{near}"
    return f"{name}: no such option; write {same or 'KEY'}=VALUE without dashes"


def hydra_problem(text: str, override: Override, sweep: bool) -> str | None:
    """Word the problem of one of Hydra's own keys: most would break what a run's folder promises.

    Args:
        text: As typed.
        override: The same, parsed.
        sweep: Whether the command is a sweep.
    """
    _, *parts = re.split("[./]", key := override.key_or_group)
    starts = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    if not set(starts) & set(_KEYS) and text != "hydra.output_subdir=null":
        instead = next(filter(None, (_INSTEAD.get(f"hydra.{s}") for s in starts)), "leave it out")
        return f"{text}: cannot be set here; {instead}"
    plugin, value, section = PLUGINS.get(text), override.value(), parts[0]
    if override.is_delete() or (section in ("launcher", "sweeper") and value is None):
        return f"{text}: cannot be removed; choose another one with hydra/{section}=NAME"
    if key in ("hydra.launcher", "hydra.sweeper") or "_target_" in parts:
        return f"{text}: choose one with hydra/{section}=NAME"
    if key.startswith("hydra.sweeper.params"):
        return f"{text}: vary a key on the command line: KEY=A,B"
    names = value if isinstance(value, list) else [value]
    if section == "verbose" and not all(isinstance(name, str | bool) for name in names):
        return f"{text}: must be true, false or the names of loggers"
    if section == "job" and (len(parts) < 3 or not (override.is_add() or override.is_force_add())):
        return f"{text}: write +hydra.job.env_set.NAME=VALUE"
    if plugin and not is_installed(plugin):
        extra = plugin.partition("_")[0]
        return f"{text}: its plugin is not installed; pip install 'nst-exp[{extra}]'"
    if parts[0] in ("launcher", "sweeper") and not sweep:
        return f"{text}: only for a sweep; add -m"
    if override.is_sweep_override():
        return f"{text}: a sweep cannot vary Hydra's own keys; give {key} one value"
    return None


def check_folders(hydra: DictConfig) -> None:
    """Refuse a preset that moves the folders of runs or changes the working directory.

    Raises:
        ConfigError: With each such key.
    """
    sections = (OmegaConf.load(CONFIGS / "config.yaml").hydra, hydra)
    own, given = (flat(cast(dict[str, Any], OmegaConf.to_container(s))) for s in sections)
    problems = [
        f"hydra.{key}: is set in a file of presets; {instead}"
        for key, instead in (
            *(("run.dir", _INSTEAD["hydra.run"]), ("job.chdir", _INSTEAD["hydra.job.chdir"])),
            *(("sweep.dir", _INSTEAD["hydra.sweep"]), ("sweep.subdir", _INSTEAD["hydra.sweep"])),
        )
        if own[key] != given[key]
    ]
    if problems:
        raise ConfigError(problems)


def is_installed(plugin: str) -> bool:
    """Tell whether a plugin of Hydra, such as "joblib_launcher", is installed."""
    try:
        return find_spec(f"hydra_plugins.hydra_{plugin}") is not None
    except ModuleNotFoundError:  # no plugin is installed at all
        return False
