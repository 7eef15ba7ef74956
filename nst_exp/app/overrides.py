"""Checks of a command line before Hydra composes it: options, keys, presets and types of values.

Hydra stops at the first problem, and accepts some others; here every problem is found.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import is_dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nst_exp.app.known_keys import OPTIMIZERS, kinds_of, known_keys, type_of, unknown_key
from nst_exp.app.messages import expected, quote
from nst_exp.config.presets import groups
from nst_exp.config.schema import Config, Optimizer
from nst_exp.config.validate import value_problems
from nst_exp.utils.errors import ConfigError
from nst_exp.utils.suggest import as_utf8, did_you_mean

# Options of Hydra's command line: those that exclude one another, others, those with a value.
COMMANDS = ("--run", "-r", "--multirun", "-m", "--cfg", "-c", "--info", "-i")
FLAGS = (*COMMANDS, "--help", "-h", "--hydra-help", "--version", "--resolve")
VALUED = (
    *("--cfg", "-c", "--info", "-i", "--shell-completion", "-sc", "--package", "-p"),
    *("--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"),
    "--experimental-rerun",
)
# Presets of Hydra's plugins -> the plugin, which is also the extra that installs it.
PLUGINS = {
    "hydra/launcher=joblib": "joblib_launcher",
    "hydra/launcher=submitit_local": "submitit_launcher",
    "hydra/launcher=submitit_slurm": "submitit_launcher",
    "hydra/launcher=ray": "ray_launcher",
    "hydra/sweeper=optuna": "optuna_sweeper",
}
_MOST = 1000  # values of one key of a sweep that are checked


def check_arguments(arguments: Sequence[str]) -> None:
    """Check the arguments of a command line, without its ``from_image``.

    Raises:
        ConfigError: With every problem of options, keys, presets and types of values.
    """
    if bad := [text for text in map(as_utf8, arguments) if text not in arguments]:
        raise ConfigError([f"{text}: is not UTF-8; use another name" for text in bad])
    options, overrides = split_arguments(arguments)
    problems = [_unknown_option(name) for name in options if name not in FLAGS + VALUED]
    if len(commands := [name for name in options if name in COMMANDS]) > 1:
        problems.append(f"{' '.join(commands)}: exclude one another; choose one")
    if not problems:  # the values of unknown options cannot be told from overrides
        check = _Check(options)
        problems = [problem for text in overrides for problem in check.problems(text)]
        if problems:  # otherwise the whole config is validated later
            problems += check.out_of_bounds
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))


def split_arguments(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Split a command line into Hydra's options with their values, and overrides."""
    options: dict[str, str] = {}
    overrides: list[str] = []
    rest = iter(arguments)
    for text in rest:
        if text.startswith("-"):
            name, _, value = text.partition("=")
            options[name] = value or (next(rest, "") if name in VALUED else "")
        else:
            overrides.append(text)
    return options, overrides


def _unknown_option(name: str) -> str:
    """Word the problem of an option: mostly a key with dashes, as other programs have it."""
    key = name.lstrip("-").replace("-", "_")
    same = next((known for known in known_keys() if key == known.split(".")[-1]), None)
    if same is None and (near := did_you_mean(name, FLAGS + VALUED)):
        return f"{name}: no such option{near}"
    return f"{name}: no such option; write {same or 'KEY'}=VALUE without dashes"


class _Check:
    """Checks of one override after the other."""

    def __init__(self, options: dict[str, str]) -> None:
        self.sweep = bool({"-m", "--multirun"} & options.keys())
        self.presets = {group: list(names) for group, names in groups().items()}
        for folder in (options[name] for name in ("--config-dir", "-cd") if name in options):
            for path in Path(folder).glob("*/*.yaml"):
                self.presets.setdefault(path.parent.name, []).append(path.stem)
        self.parser = OverridesParser.create()
        self.out_of_bounds: list[str] = []  # a line for each value that its key does not allow

    def problems(self, text: str) -> Iterator[str]:
        """Yield every problem of key, preset and types of values."""
        typed = text.lstrip("+~")
        key = typed.partition("=")[0].partition("@")[0]
        try:
            override = self.parser.parse_override(text)
        except HydraException:
            yield _unreadable(text)
            return
        if not key:
            yield _unreadable(text)
        elif key.startswith(("hydra.", "hydra/")):
            plugin = PLUGINS.get(text)
            if plugin and not is_installed(plugin):
                extra = plugin.partition("_")[0]
                yield f"{text}: its plugin is not installed; pip install 'nst-exp[{extra}]'"
        elif key == "from_image":
            yield "from_image: only on the command line, as from_image=IMAGE"
        elif key not in self.presets and type_of(key) is None:
            yield unknown_key(key)
        elif key == "optimizer.kind":
            yield f"{text}: is set by the preset; choose optimizer=adam or optimizer=lbfgs"
        elif override.is_delete():
            if key != "experiment":
                yield f"{text}: cannot be removed; give another one, {key}=..."
        elif key == "experiment" and not override.is_add():
            yield f"experiment: needs a plus sign; write +{typed}"
        elif override.package == "backbone.fallback" and not override.is_add():
            yield f"{text}: needs a plus sign; write +{typed}"
        elif override.is_sweep_override():
            yield from self._sweep(typed, key, override)
        else:
            yield from self._value(typed, key, override.value())

    def _sweep(self, text: str, key: str, override: Override) -> Iterator[str]:
        value: Any = override.value()
        if not self.sweep:
            yield f"{_unreadable(text)}; for a sweep over several values add -m"
        elif key == "out":
            yield f"{text}: a sweep has one folder, with one for each job in it; give one out=DIR"
        elif isinstance(value, IntervalSweep):
            yield from self._value(f"{key}={value.start}", key, value.start)
        elif isinstance(value, RangeSweep) and value.step == 0:
            yield f"{text}: has no values; give range(START,STOP,STEP)"
        elif not isinstance(value, Glob):
            for one in islice(override.sweep_string_iterator(), _MOST):
                single = f"{key}={one}"
                yield from self._value(single, key, self.parser.parse_override(single).value())

    def _value(self, text: str, key: str, value: Any) -> Iterator[str]:
        if "${" in text or isinstance(value, dict):
            return  # checked when it is resolved
        if key in self.presets:
            names = self.presets[key]
            if not isinstance(value, str):
                yield f"{text}: a group needs the name of a preset; choose {key}=NAME"
            elif value not in names and "/" not in value:
                near = did_you_mean(value, names)
                yield f"{text}: no such preset{near}\n    presets: {', '.join(names)}"
            return
        section, dot, name = key.rpartition(".")
        owner = type_of(section) if section else Config
        if owner is Optimizer:
            owner = OPTIMIZERS[kinds_of(key)[0]]
        if not is_dataclass(owner):
            return  # an entry of a dict
        try:
            merged = OmegaConf.merge(OmegaConf.structured(owner), {name: value})
        except (OmegaConfBaseException, ValueError, TypeError) as error:
            yield f"{text}: {expected(key, value, error)}"
        else:
            self.out_of_bounds += value_problems(OmegaConf.to_object(merged), section + dot)


def is_installed(plugin: str) -> bool:
    """Tell whether a plugin of Hydra, such as "joblib_launcher", is installed."""
    try:
        return find_spec(f"hydra_plugins.hydra_{plugin}") is not None
    except ModuleNotFoundError:  # no plugin is installed at all
        return False


def _unreadable(text: str) -> str:
    """Word the problem of a text that is not in the grammar of Hydra's overrides."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        return f"{text}: cannot be read; write KEY=VALUE without blanks"
    quoted = shlex.quote(f"{key}=" + quote(value, '"'))
    return f"{text}: cannot be read; quote the value: {quoted}"
