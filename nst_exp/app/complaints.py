"""Everything that Hydra finds wrong with a command line, a line for each problem.

Hydra stops at the first one. Here each argument is tried by itself behind that, so that a person
need not run into the next mistake after having mended one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from nst_exp.app.compose import quoted, to_config
from nst_exp.app.messages import line_about
from nst_exp.config.presets import groups
from nst_exp.runner.validate import problems_of
from nst_exp.utils.errors import ConfigError
from nst_exp.utils.paths import CONFIGS

_MOST = 60  # arguments and values of a sweep that are tried one by one: 0.1 s each
_FAILS = (HydraException, OmegaConfBaseException, YAMLError, ValueError)


def complaint(error: Exception, arguments: Sequence[str]) -> list[str]:
    """What is wrong, for the person who typed ``arguments`` and brought Hydra to ``error``."""
    given = list(arguments)
    first = line_about(error, given)
    overrides, folder, sweep = _overrides(given)
    if len(overrides) < 2 and not sweep:
        return [first]
    if any("=" not in text.strip("=") for text in overrides if not text.startswith("~")):
        return [first]  # blanks around an equals sign, or the like
    try:
        lines = _one_by_one(overrides, folder, sweep, error)
    except Exception:  # the first complaint is worth more than a second failure
        return [first]
    if not lines:  # it takes several arguments together
        return [first]
    return list(dict.fromkeys(lines))


def _overrides(arguments: list[str]) -> tuple[list[str], str | None, bool]:
    """The arguments that are no options, the folder of own presets, and whether it is a sweep."""
    known, _ = get_args_parser().parse_known_args([a for a in arguments if a != "--version"])
    folder = known.config_dir
    own = None if folder is None else os.path.abspath(folder)
    return list(known.overrides), own, bool(known.multirun)


def _one_by_one(
    overrides: list[str], folder: str | None, sweep: bool, first: Exception
) -> list[str]:
    lines: list[str] = []
    chosen: list[str] = []  # presets, under which keys are tried
    keys: list[str] = []
    whole = True  # the presets are what the person wanted
    for text in overrides:
        try:
            single = _values(text) if sweep else [text]
        except HydraException as error:
            lines.append(line_about(error, overrides, first))
            continue
        group = text.lstrip("+~").partition("=")[0]
        if group in groups() or "/" in group:
            said = [line for value in single if (line := _tried([value], folder, first))]
            whole = whole and not said
            lines += said
            if not said:
                chosen.append(single[0])
        else:
            keys += single
    if len(keys) > _MOST:
        return lines
    good: list[str] = []
    for text in keys:
        if line := _tried([*chosen, text], folder, first):
            if whole or "only with" not in line:
                lines.append(line)
        else:
            good.append(text)
    return lines + (_beyond_hydra([*chosen, *good], good, folder) if whole else [])


def _values(text: str) -> list[str]:
    """``KEY=VALUE`` for each value that a sweep gives the key."""
    (override,) = OverridesParser.create().parse_overrides([text])
    if not override.is_sweep_override() or not override.is_discrete_sweep():
        return [text]
    key = text.partition("=")[0]
    return [f"{key}={value}" for value in islice(override.sweep_string_iterator(), _MOST)]


def _compose(overrides: list[str], folder: str | None) -> DictConfig:
    own = [] if folder is None else [f"hydra.searchpath=[{quoted(folder)}]"]
    with _no_other_hydra(), initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        return compose("config", [*own, *overrides])


@contextmanager
def _no_other_hydra() -> Iterator[None]:
    """Put the Hydra of this process aside, which is at work when a sweep is refused."""
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().hydra = None
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = before  # another instance by now, as Hydra copies it


def _tried(overrides: list[str], folder: str | None, first: Exception) -> str | None:
    """What Hydra says of the last of the overrides."""
    try:
        _compose(overrides, folder)
    except _FAILS as error:
        return line_about(error, overrides, first)
    return None


def _beyond_hydra(overrides: list[str], good: Iterable[str], folder: str | None) -> list[str]:
    """What the other checks say of keys that Hydra takes, whatever becomes of the others."""
    try:
        problems = problems_of(to_config(_compose(overrides, folder)))
    except ConfigError as error:
        problems = error.problems
    except _FAILS:
        return []
    names = {text.lstrip("+~").partition("=")[0] for text in good}
    return [p for p in problems if p.partition(":")[0].partition("=")[0] in names]
