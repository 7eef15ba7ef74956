"""Checks of a command line before Hydra composes it: options, keys, presets and types of values.

Hydra stops at the first problem, and accepts some others; here every problem is found.
"""

import re
import shlex
import typing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import is_dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    RangeSweep,
)
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from nst_exp.app.hydra_options import hydra_problem, option_problems, split_arguments
from nst_exp.app.known_keys import (
    ONE_OR_MORE,
    OPTIMIZERS,
    field_types,
    kinds_of,
    known_keys,
    type_of,
    unknown_key,
)
from nst_exp.app.messages import expected, quote
from nst_exp.config.output import image_of
from nst_exp.config.presets import groups
from nst_exp.config.schema import Config, Optimizer
from nst_exp.config.validate import value_problems
from nst_exp.images.lookup import images_in
from nst_exp.results.sweep_plan import split_overrides
from nst_exp.utils.errors import ConfigError
from nst_exp.utils.suggest import as_utf8, did_you_mean

# What the parser raises, also for numbers of thousands of digits and deep brackets.
UNREADABLE = (HydraException, ValueError, RecursionError)
IMAGES = ("content", "style", "content_map", "init.file")  # a folder is a sweep over its images
_MOST = 1000  # values of one key of a sweep that are checked
# The values in a list: quoted, or whatever is between two separators.
_LIST = re.compile(r"(?!\w+ ?\()")  # and no function, such as range(3)
_QUOTED = r"""\s*(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")\s*"""
_VALUES = {
    str: re.compile(rf"{_QUOTED}(?=,|$)|(?:\\.|\$\{{[^}}]*\}}|[^,])+", re.DOTALL),
    list[str]: re.compile(rf"{_QUOTED}(?=[],]|$)|(?:\\.|\$\{{[^}}]*\}}|[^],[])+", re.DOTALL),
}


def check_arguments(arguments: Sequence[str]) -> list[str]:
    """Check the arguments of a command line, without its ``from_image``.

    Returns:
        The arguments, with quotation marks around texts that Hydra would convert or refuse: 1_2,
        1e3, true, ~/a.jpg.

    Raises:
        ConfigError: With every problem of options, keys, presets and types of values.
    """
    if bad := [text for text in map(as_utf8, arguments) if text not in arguments]:
        raise ConfigError([f"{text}: is not UTF-8; use another name" for text in bad])
    options, overrides = split_arguments(arguments)
    problems = list(option_problems(options))
    kept: list[str] = []
    if not problems:  # the values of unknown options cannot be told from overrides
        check = _Check(options)
        kept = [check.keep_text(text) for text in overrides]
        problems = [problem for text in kept for problem in check.problems(text)]
        if problems:  # otherwise the whole config is validated later
            problems += check.out_of_bounds
        if check.sweep:  # the last value of a key counts: of Optuna, a single one would
            kept = list({text.partition("=")[0]: text for text in kept}.values())
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    # Hydra needs its options first.
    return [*(part for option in options.items() for part in option if part), *kept]


def keep_texts(overrides: Iterable[str]) -> list[str]:
    """Quote what Hydra would convert or refuse in a sweep's values of texts."""
    check = _Check({"--multirun": ""})
    return [check.keep_text(text) for text in overrides]


class _Check:
    """Checks of one override after the other."""

    def __init__(self, options: dict[str, str]) -> None:
        self.sweep = "--multirun" in options
        self.presets = {group: list(names) for group, names in groups().items()}
        own = Path(options["--config-dir"]).glob("*/*.yaml") if "--config-dir" in options else ()
        self.own = {(path.parent.name, path.stem): path for path in own}
        for group, name in self.own:
            self.presets.setdefault(group, []).append(name)
        self.parser = OverridesParser.create()
        self.out_of_bounds: list[str] = []  # a line for each value that its key does not allow

    def keep_text(self, text: str) -> str:
        """Quote what Hydra's grammar would convert or refuse in an override of a text."""
        name, equals, value = text.partition("=")
        key = name.lstrip("+~").partition("@")[0]
        kind = self._kind(key)
        if key in ONE_OR_MORE and not value.lstrip().startswith("["):
            kind = str
        if key == "pair" and equals and not value.startswith("["):
            return f"{name}=[{value}]"
        if not equals or kind not in _VALUES:
            return text
        if self.sweep:
            value = re.sub(r"^choice\((.*)\)$", r"\1", value, flags=re.DOTALL)
        expands = self.sweep and kind is str and key in IMAGES

        def one(text: str) -> str:
            files = images_in(split_overrides([f"x={text}"])["x"]) if expands else []
            return ",".join(map(quote, files)) or self._quoted(text)

        single = kind is str and not self.sweep
        try:
            override = self.parser.parse_override(f"{name}={value}")
        except UNREADABLE:
            pass  # of a text, whatever it is
        else:
            if override.is_sweep_override() and not (self.sweep and _LIST.match(value)):
                return text
            single = kind is str and not override.is_sweep_override()
        if single:
            return f"{name}={one(value)}"
        return f"{name}=" + _VALUES[kind].sub(lambda match: one(match[0].strip()), value)

    def _quoted(self, text: str) -> str:
        try:
            value = self.parser.parse_override(f"text={text}").value()
        except UNREADABLE:
            return quote(text)
        bare = text.strip()
        outer = isinstance(value, str) and text != bare and bare[:1] not in ("'", '"')
        return quote(text) if isinstance(value, int | float) or outer else text

    def problems(self, text: str) -> Iterator[str]:
        """Yield every problem of key, preset and types of values."""
        typed = text.lstrip("+~")
        key = typed.partition("=")[0].partition("@")[0]
        try:
            override = self.parser.parse_override(text)
        except UNREADABLE as error:
            yield self._unreadable(text, key, error)
            return
        if not key:
            yield f"{text}: cannot be read; write KEY=VALUE without blanks"
        elif key.startswith(("hydra.", "hydra/")):
            if problem := hydra_problem(text, override, self.sweep):
                yield problem
        elif key == "from_image":
            yield "from_image: only on the command line, as from_image=IMAGE"
        elif key not in self.presets and type_of(key) is None:
            yield unknown_key(key)
        elif override.package is not None and key not in self.presets:
            yield f"{text}: only presets have a package; write {key}=VALUE"
        elif ".fallback." in key:
            yield f"{text}: is set by a preset; choose +backbone@backbone.fallback=NAME"
        elif override.is_add() and key in known_keys() and not isinstance(override.value(), dict):
            yield f"{text}: this key exists; leave out the plus sign"
        elif key == "optimizer.kind":
            presets = [f"optimizer={kind}" for kind in OPTIMIZERS]
            yield f"{text}: is set by the preset; choose {' or '.join(presets)}"
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

    def _unreadable(self, text: str, key: str, error: Exception) -> str:
        """Word the problem of a text that is not in the grammar of Hydra's overrides."""
        kind, known = self._kind(key), key.startswith("hydra") or self._kind(key) is not None
        if not key or "=" not in text:
            return f"{text}: cannot be read; write KEY=VALUE without blanks"
        if not known:
            return unknown_key(key)
        if kind is str and re.search(r",\s*(,|$)", text):
            return f"{text}: a value is empty; remove a comma, or {_quoted_form(text)}"
        if kind is None or kind is str:
            return f"{text}: cannot be read; {_quoted_form(text)}"
        return f"{text}: {expected(key, text, error)}"

    def _sweep(self, text: str, key: str, override: Override) -> Iterator[str]:
        value: Any = override.value()
        if not self.sweep:
            quoted = f"; {_quoted_form(text)}" if self._kind(key) is str else ""
            yield f"{text}: for a sweep over several values add -m{quoted}"
        elif key == "out":
            yield f"{text}: a sweep has one folder, with one for each job in it; give one out=DIR"
        elif isinstance(value, IntervalSweep):
            yield from self._value(f"{key}={value.start}", key, value.start)
        elif isinstance(value, RangeSweep) and value.step == 0:
            yield f"{text}: has no values; give range(START,STOP,STEP)"
        elif isinstance(value, ChoiceSweep | RangeSweep) and value.shuffle:
            # Each iteration has another order: the plan's folders would not be those of the jobs.
            yield f"{text}: a sweep keeps the order of its values; leave shuffle out"
        elif isinstance(value, ChoiceSweep) and list(_converted(self._kind(key), value.list, "")):
            yield f"{text}: converts texts to numbers; list them, {key}=A,B"
        elif isinstance(value, Glob):
            if key not in self.presets:
                yield f"{text}: glob() is for presets; of files give the pattern, '{key}=DIR/*'"
        else:
            for one in islice(override.sweep_string_iterator(), _MOST):
                single = f"{key}={one}"
                yield from self._value(single, key, self.parser.parse_override(single).value())

    def _kind(self, key: str) -> Any:
        is_text = key in self.presets or key.startswith("hydra.job.env_set.")
        return str if is_text else type_of(key)

    def _value(self, text: str, key: str, value: Any) -> Iterator[str]:
        hint = type_of(key)
        if key == "pair" and value and not self.sweep:
            yield f"pair={','.join(map(str, value))}: only for a sweep; add -m"
        if key == "out" and self.sweep and image_of(str(value)):
            folder = Path(value).with_suffix("")
            yield f"{text}: a sweep has a folder for its jobs; write out={folder}"
        nested = isinstance(value, dict) or (isinstance(value, list) and hint is not str)
        for name in _converted(hint, value, key) if nested else ():
            yield f"{text}: {name} reads as a number; write quotation marks around this text"
        if "${" in text or (isinstance(value, dict) and (is_dataclass(hint) or hint is Any)):
            return  # checked when it is resolved
        if key in self.presets:
            names = self.presets[key]
            if not isinstance(value, str):
                yield f"{text}: a group needs the name of a preset; choose {key}=NAME"
            elif value not in names and "/" not in value:
                near = did_you_mean(value, names)
                yield f"{key}={value}: no such preset{near}\n    presets: {', '.join(names)}"
            elif path := self.own.get((key, value)):
                try:
                    content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
                except YAMLError:
                    return  # described with its line when the config is composed
                except (OSError, ValueError) as reason:
                    yield f"{path}: cannot be read ({reason}); write KEY: VALUE there, in UTF-8"
                    return
                prefix = key if hint else ""  # an experiment holds keys of every group
                for name in _converted(hint or Config, content, prefix):
                    yield f"{path}: {name.lstrip('.')} reads as a number; quote it there: '...'"
            return
        if key in ONE_OR_MORE and isinstance(value, str):
            value = [value]
        section, dot, name = key.rpartition(".")
        owner = type_of(section) if section else Config
        if owner is Optimizer:
            owner = OPTIMIZERS[kinds_of(key)[0]]
        if not is_dataclass(owner):
            return  # an entry of a dict
        entries = value if isinstance(value, list) and hint == list[str] else []
        if not all(isinstance(entry, str | int | float) for entry in entries):
            yield f"{text}: every entry must be a single text"
            return
        try:
            merged = OmegaConf.merge(OmegaConf.structured(owner), {name: value})
        except (OmegaConfBaseException, ValueError, TypeError) as error:
            problem = f"{text}: {expected(key, value, error)}"
            yield f"{problem}; {_quoted_form(text)}" if hint is str and value else problem
        else:
            self.out_of_bounds += value_problems(OmegaConf.to_object(merged), section + dot)


def _quoted_form(text: str) -> str:
    key, _, value = text.partition("=")
    return f"quote the value: {shlex.quote(f'{key}=' + quote(value, chr(34)))}"


def _converted(hint: Any, value: Any, key: str) -> Iterator[str]:
    """Yield the keys of texts inside lists and dicts that Hydra has converted to numbers."""
    if isinstance(value, dict) and is_dataclass(hint):
        for name, entry in value.items():
            yield from _converted(field_types(hint).get(name), entry, f"{key}.{name}")
    elif isinstance(value, list):
        for entry in value:
            yield from _converted(next(iter(typing.get_args(hint)), hint), entry, key)
    elif hint is str and isinstance(value, int | float):
        yield key
