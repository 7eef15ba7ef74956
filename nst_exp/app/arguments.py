"""What is wrong with a command line in ways that Hydra takes, or answers in words of its own."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, RangeSweep
from hydra.errors import HydraException

from nst_exp.app.compose import NEEDS_PRESET, known_keys, unknown_key
from nst_exp.config.presets import groups
from nst_exp.utils.errors import ConfigError
from nst_exp.utils.suggest import as_utf8, did_you_mean

_EXCLUSIVE = ("run", "multirun", "cfg", "info", "shell_completion")


class _Refused(Exception):
    """What argparse would have printed below its usage."""


def _refuse(message: str) -> NoReturn:
    raise _Refused(message)


def check_arguments(arguments: Sequence[str]) -> None:
    """Raise ConfigError for options that do not exist, presets taken away and sweeps of nothing.

    To be called with the arguments of the command line before Hydra sees them.
    """
    if bad := [text for text in map(as_utf8, arguments) if text not in arguments]:
        raise ConfigError([f"{text}: is not UTF-8; take a name that is" for text in bad])
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    try:
        known, unknown = parser.parse_known_args(list(arguments))
    except _Refused as refused:
        words = " ".join(arguments)
        raise ConfigError(f"{words}: {refused}; see python -m nst_exp --help") from None
    problems = [_option(option, parser) for option in unknown]
    chosen = [name for name in _EXCLUSIVE if getattr(known, name)]
    if len(chosen) > 1:
        options = " ".join(f"--{name.replace('_', '-')}" for name in chosen)
        problems.append(f"{options}: these exclude one another; choose one")
    if not problems:
        problems += _own_presets(known.config_dir, known.overrides)
        for text in known.overrides:
            problems += _override(str(text), bool(known.multirun))
    if problems:
        raise ConfigError(problems)


def _own_presets(folder: str | None, overrides: list[str]) -> Iterator[str]:
    """Chosen files that cannot be read as text, which Hydra does not name."""
    chosen = {text.lstrip("+") for text in overrides}
    for path in sorted(Path(folder).glob("*/*.yaml")) if folder else ():
        if f"{path.parent.name}={path.stem}" not in chosen:
            continue
        try:
            path.read_text(encoding="utf-8")
        except ValueError:
            yield f"{path}: is not UTF-8; save it as UTF-8"
        except OSError as error:
            yield f"{path}: cannot be read ({error.strerror}); correct or remove it"


def _option(option: str, parser: argparse.ArgumentParser) -> str:
    """An option that does not exist: mostly a key with dashes in front, as elsewhere."""
    name = option.partition("=")[0]
    key = name.lstrip("-").replace("-", "_")
    known = known_keys()
    meant = next((other for other in known if key in (other, other.split(".")[-1])), None)
    options = [o for o in parser._option_string_actions if o.startswith("--")]
    if meant is None and len(name) > 3 and (near := did_you_mean(name, options)):
        return f"{option}: no such option{near}"
    meant = meant or unknown_key(key).partition("did you mean '")[2].rstrip("'?") or "KEY"
    return f"{option}: no such option; settings have no dashes: {meant}=VALUE"


def _override(text: str, sweep: bool) -> Iterator[str]:
    if text.startswith("from_image="):
        return
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException:
        return  # which says so itself, with the way to quote it
    key = override.get_key_element().lstrip("+~")
    if not key and text != "=":
        yield f"{text}: cannot be read; write KEY=VALUE"
    elif key.startswith("hydra.sweeper.params.") and not override.is_add():
        yield f"{text}: write a sweep as -m {key.removeprefix('hydra.sweeper.params.')}=1,2,3"
    elif override.is_delete() and key in groups() and key != "experiment":
        yield f"{text}: {NEEDS_PRESET}, {key}=NAME"
    elif override.is_sweep_override():
        yield from _sweep(text, key, override)


def _sweep(text: str, key: str, override: Override) -> Iterator[str]:
    value: Any = override.value()
    if key in ("out", "hydra.sweep.dir", "hydra.run.dir"):
        yield f"{text}: a sweep has one folder, with one for each job in it; give one {key}=DIR"
    elif isinstance(value, Glob) and key not in groups():
        yield f"{text}: glob() is for presets; write the values out, {key}=1,2,3"
    elif isinstance(value, RangeSweep):
        try:
            empty = not list(value.range())[:1]
        except ValueError as error:  # a step of 0
            yield f"{text}: {error}; give range(START,STOP,STEP)"
            return
        if empty:
            yield f"{text}: holds no value; give range(START,STOP,STEP)"
