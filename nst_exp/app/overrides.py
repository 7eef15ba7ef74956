"""Checks of a command line before Hydra composes it: options, keys, presets and types of values.

Hydra stops at the first problem, and accepts some others; here every problem is found.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nst_exp.app.known_keys import OPTIMIZERS, kinds_of, known_keys, type_of, unknown_key
from nst_exp.app.messages import expected, quote
from nst_exp.config.presets import groups
from nst_exp.config.schema import Config
from nst_exp.config.validate import value_problems
from nst_exp.utils.errors import ConfigError
from nst_exp.utils.suggest import as_utf8, did_you_mean

# Options of Hydra's command line: those that exclude one another, others, those with a value.
COMMANDS = ("--run", "-r", "--multirun", "-m", "--cfg", "-c", "--info", "-i", "-sc")
FLAGS = (*COMMANDS, "--help", "-h", "--hydra-help", "--version", "--resolve", "--shell-completion")
VALUED = (
    *("--cfg", "-c", "--package", "-p", "--info", "-i", "--config-path", "-cp"),
    *("--config-name", "-cn", "--config-dir", "-cd", "--experimental-rerun"),
)
# Presets of Hydra's plugins -> the plugin's module and the extra that installs it.
PLUGINS = {
    "hydra/launcher=joblib": ("hydra_joblib_launcher", "joblib"),
    "hydra/launcher=submitit_local": ("hydra_submitit_launcher", "submitit"),
    "hydra/launcher=submitit_slurm": ("hydra_submitit_launcher", "submitit"),
    "hydra/launcher=ray": ("hydra_ray_launcher", "ray"),
    "hydra/sweeper=optuna": ("hydra_optuna_sweeper", "optuna"),
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
    commands = [name for name in options if name in COMMANDS]
    if len(commands) > 1:
        problems.append(f"{' '.join(commands)}: exclude one another; choose one")
    # The values of unknown options cannot be told from overrides.
    if not problems and not {"-sc", "--shell-completion"} & options.keys():
        check = _Check(options, overrides)
        problems += check.problems()
        if problems:  # otherwise the whole config is validated later
            problems += check.values_out_of_bounds()
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
    """One pass over the overrides of a command line."""

    def __init__(self, options: dict[str, str], overrides: list[str]) -> None:
        self.overrides = overrides
        self.sweep = bool({"-m", "--multirun"} & options.keys()) or (
            "hydra.mode=MULTIRUN" in overrides
        )
        self.presets = {group: list(names) for group, names in groups().items()}
        for folder in (options[name] for name in ("--config-dir", "-cd") if name in options):
            for path in Path(folder).glob("*/*.yaml"):
                self.presets.setdefault(path.parent.name, []).append(path.stem)
        self.parser = OverridesParser.create()
        # The kind of optimizer, if the overrides alone decide it.
        chosen = [text.partition("=")[2] for text in self.overrides if text[:10] == "optimizer="]
        own = chosen or any("experiment=" in text for text in self.overrides)
        kinds = [kind for kind in OPTIMIZERS if chosen and chosen[-1].startswith(kind)]
        self.optimizer = kinds[0] if kinds else "" if own else "lbfgs"
        # By kind of optimizer the schema with the values that could be converted.
        self.configs: dict[str, Any] = {}

    def problems(self) -> Iterator[str]:
        """Yield every problem of keys, presets and types of values."""
        for text in self.overrides:
            try:
                override = self.parser.parse_override(text)
            except HydraException:
                yield self._unreadable(text)
            else:
                yield from self._override(text, override)

    def _override(self, text: str, override: Override) -> Iterator[str]:
        key, typed = override.key_or_group, text.lstrip("+~")
        group, section = key in self.presets, re.split("[./]", key)[0]
        if not key:
            yield f"{text}: cannot be read; write KEY=VALUE"
        elif section == "hydra":
            yield from self._of_hydra(text, key, override)
        elif "/" in key and section in self.presets:
            return  # a folder inside a group
        elif key == "from_image":
            yield "from_image: only on the command line, as from_image=IMAGE"
        elif not group and type_of(key) is None:
            yield unknown_key(key)
        elif not group and self.optimizer and type_of(key, self.optimizer) is None:
            yield f"{key}: only with optimizer={' or '.join(kinds_of(key))}"
        elif key == "optimizer.kind":
            yield f"{text}: is set by the preset; choose optimizer=adam or optimizer=lbfgs"
        elif override.is_delete():
            if key != "experiment":
                advice = f"choose another preset, {key}=NAME" if group else f"set {key}=VALUE"
                yield f"{text}: cannot be removed; {advice}"
        elif key == "experiment" and not override.is_add():
            yield f"experiment: needs a plus sign; write +{typed}"
        elif key.startswith("backbone.fallback") and override.value() is not None:
            yield f"{text}: must be null; for a preset write +backbone@backbone.fallback=NAME"
        elif self._is_set(key, override):
            yield f"{key}: is set already; write it without the plus sign: {typed}"
        elif override.is_sweep_override():
            yield from self._sweep(typed, key, override)
        else:
            yield from self._value(typed, key, override)

    def _is_set(self, key: str, override: Override) -> bool:
        """Tell whether a plus sign is wrong: everything is set but entries of a dict."""
        if key in groups():
            plus = override.is_add() or override.is_force_add()
            return plus and key != "experiment" and override.package is None
        return override.is_add() and key in known_keys()

    def _of_hydra(self, text: str, key: str, override: Override) -> Iterator[str]:
        module, extra = PLUGINS.get(text, ("", ""))
        if module and not (find_spec("hydra_plugins") and find_spec(f"hydra_plugins.{module}")):
            yield f"{text}: its plugin is not installed; pip install 'nst_exp[{extra}]'"
        elif key.startswith("hydra.sweeper.params.") and not override.is_add():
            yield f"{text}: use -m {key.removeprefix('hydra.sweeper.params.')}=1,2,3 for a sweep"

    def _sweep(self, text: str, key: str, override: Override) -> Iterator[str]:
        value: Any = override.value()
        if not self.sweep:
            yield f"{self._unreadable(text)}; for a sweep over several values add -m"
        elif key == "out":
            yield f"{text}: a sweep has one folder, with one for each job in it; give one out=DIR"
        elif isinstance(value, Glob):
            if key not in self.presets:
                yield f"{text}: glob() is for presets; list the values, {key}=1,2,3"
        elif isinstance(value, IntervalSweep):
            yield from self._value(text, key, self.parser.parse_override(f"{key}={value.start}"))
        elif isinstance(value, RangeSweep) and (value.step == 0 or not list(value.range())[:1]):
            yield f"{text}: has no values; give range(START,STOP,STEP)"
        else:
            for one in islice(override.sweep_string_iterator(), _MOST):
                single = f"{key}={one}"
                yield from self._value(single, key, self.parser.parse_override(single))

    def _value(self, text: str, key: str, override: Override) -> Iterator[str]:
        value: Any = override.value()
        if "${" in text:
            return  # checked when it is resolved
        if key in self.presets and not isinstance(value, dict):
            names = self.presets[key]
            if not isinstance(value, str):
                yield f"{text}: a group needs the name of a preset; choose {key}=NAME"
            elif value not in names and "/" not in value:
                near = did_you_mean(value, names)
                yield f"{text}: no such preset{near}\n    presets: {', '.join(names)}"
            return
        for name in reversed(key.split(".")):
            value = {name: value}
        kind = self.optimizer or kinds_of(key)[0]
        config = self.configs.get(kind) or Config(optimizer=OPTIMIZERS[kind]())
        try:
            self.configs[kind] = OmegaConf.merge(config, value)
        except (OmegaConfBaseException, ValueError, TypeError) as error:
            yield f"{text}: {expected(key, override.value(), error)}"

    def values_out_of_bounds(self) -> Iterator[str]:
        """Yield a line for each converted value that its key does not allow."""
        for config in self.configs.values():
            yield from value_problems(cast(Config, OmegaConf.to_object(config)))

    def _unreadable(self, text: str) -> str:
        """Word the problem of a text that is not in the grammar of Hydra's overrides."""
        key, equals, value = text.partition("=")
        if not equals:
            return f"{text}: cannot be read; write KEY=VALUE without blanks"
        if not re.fullmatch(r"[+~]{0,2}\w[\w./@-]*", key):
            return f"{text}: cannot be read, since '{key}' is not a key; write KEY=VALUE"
        quoted = shlex.quote(f"{key}=" + quote(value, '"'))
        return f"{text}: cannot be read; quote the value: {quoted}"
