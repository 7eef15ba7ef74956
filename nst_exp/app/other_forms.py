"""Forms of a command line that other programs have, answered with the command that was meant.

Keys with dashes or other names, images without keys, blanks without quotation marks, sizes such as
1024x768. None of them is accepted: a command has one form.
"""

import os
import re
import shlex
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_origin

from nst_exp.app.hydra_options import is_option, takes_next
from nst_exp.app.known_keys import ONE_OR_MORE, SYNONYMS, known_keys, type_of
from nst_exp.app.overrides import check_arguments
from nst_exp.config.presets import groups
from nst_exp.config.schema import Config
from nst_exp.images.lookup import find_image, image_suffixes
from nst_exp.utils.errors import ConfigError

_WEIGHTS = ("alpha", "beta", "loss.tv.weight")  # whose scale is not that of other programs
_VALUES = {
    ("init", "random"): "noise",
    ("init", "image"): "content",
    ("backbone.pool", "avg"): "average",
}
_COMMANDS = {"list": "--help", "help": "--help", "version": "--version"}


def refuse_other_forms(arguments: Sequence[str]) -> None:
    """Refuse arguments in a form of other programs.

    Raises:
        ConfigError: With the command that was meant, and the problems that it has itself.
    """
    reader = _Reader(arguments)
    if not reader.refused:
        return
    words = " ".join(text for text, _ in reader.refused)
    facts = ", ".join(dict.fromkeys([*(fact for _, fact in reader.refused), *reader.notes]))
    meant = shlex.join(["python", "-m", "nst_exp", *reader.meant])
    problems = [f"{words}: {facts}; write {meant}"]
    try:
        check_arguments(reader.meant)
    except ConfigError as error:
        problems += error.problems
    raise ConfigError(problems)


class _Reader:
    """Reads a command line, and writes the one that was meant."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.rest = deque(arguments)
        self.meant: list[str] = []
        self.refused: list[tuple[str, str]] = []  # what was typed, and what is wrong with it
        self.notes: list[str] = []
        self.free = [key for key in ("content", "style", "out") if not _is_given(key, arguments)]
        while self.rest:
            self._read(self.rest.popleft())

    def _read(self, text: str) -> None:
        name, equals, value = text.partition("=")
        word = name.lstrip("-+").replace("-", "_")
        if is_option(text):
            self.meant.append(text)
            if takes_next(text) and self.rest:
                self.meant.append(self.rest.popleft())
        elif word == "resume" and (equals or name.startswith("-")):
            self._read_resume(text, value)
        elif name.startswith("-") and word in _COMMANDS:
            self._refuse(text, "no such option", _COMMANDS[word])
        elif name.startswith("-") and _known(word):
            values = [value] if equals else self._take_values(_known(word))
            self._rename(" ".join([text, *values] if not equals else [text]), word, values)
        elif name.startswith("-") or (equals and not name):
            self.meant.append(text)
        elif equals and word not in SYNONYMS:
            self._extend(text, name, value)
        elif equals:
            joined = self._joined(value, type_of(_known(word)))
            self._rename(f"{name}={joined}", word, [joined])
        elif _is_key(word) and self.rest and not _is_typed(self.rest[0]):  # steps 300, steps = 300
            typed = [self.rest.popleft()]
            if typed == ["="] and self.rest:
                typed.append(self.rest.popleft())
            value = typed[-1].removeprefix("=")
            self._refuse(" ".join([text, *typed]), "a setting is KEY=VALUE", f"{name}={value}")
        else:
            self._read_word(text)

    def _read_word(self, text: str) -> None:
        """Read a word without a key: an image, the name of an experiment, a command."""
        if self.free and _looks_like_image(text):
            key = self.free.pop(0)
            self._refuse(text, "an image needs its key", f"{key}={text}")
        elif text in groups()["experiment"]:
            self._refuse(text, "an experiment needs its key", f"+experiment={text}")
        elif text in _COMMANDS:
            self._refuse(text, "options have dashes", _COMMANDS[text])
        else:
            self.meant.append(text)

    def _read_resume(self, text: str, value: str) -> None:
        """Read the wish to resume, perhaps with the folder of the run or its checkpoint."""
        if not value and self.rest and not _is_typed(self.rest[0]):
            value = self.rest.popleft()
            text = f"{text} {value}"
        path = Path(value)
        folder = path.parent if path.suffix == ".ckpt" else path
        fact = "a run resumes by itself if its settings and its folder, out=DIR, are given"
        names_folder = value and "out" in self.free and _exists(value)
        self._refuse(text, fact, *([f"out={folder}"] if names_folder else []))

    def _take_values(self, key: str) -> list[str]:
        """Take the values that follow an option: of a list all, else one."""
        found: list[str] = []
        several = key in ONE_OR_MORE or get_origin(type_of(key)) is list
        while self.rest and (several or not found) and not _is_typed(self.rest[0]):
            found.append(self.rest.popleft())
        if len(found) == 1:
            found = [self._joined(found[0], type_of(key))]
        return found

    def _rename(self, text: str, word: str, values: Sequence[str]) -> None:
        key, fact = _known(word), "no such key" if word in SYNONYMS else "a key has no dashes"
        overrides = _override(word, key, values)
        if not overrides:
            self.meant.append(text)
            return
        self._refuse(text, fact, *overrides)
        if key in _WEIGHTS and word in SYNONYMS:
            self.notes.append(f"{key} has another scale (default {_default(key)})")

    def _extend(self, text: str, name: str, value: str) -> None:
        """Read ``KEY=VALUE``, with further words of its value if they belong to it."""
        kind = type_of(name)
        joined = self._joined(value, kind)
        size = re.fullmatch(r"(\d+)\s*[xX×]\s*(\d+)", value)
        if name in ("size", "resolution") and (size or (value.isdigit() and name != "size")):
            longest = max(map(int, size.groups())) if size else value
            fact = f"{'size' if size else 'the key'} is {'the longest side' if size else 'size'}"
            self._refuse(text, fact, f"size={longest}")
        elif joined != value:
            self._refuse(f"{name}={joined}", "blanks need quotation marks", f"{name}={joined}")
        else:
            self.meant.append(text)

    def _joined(self, value: str, kind: Any) -> str:
        """Add the words after a value that belong to it: of a text, mostly a file's name."""
        words = []
        for word in self.rest:
            if _is_typed(word):
                break
            words.append(word)
        if not words or (kind is not str and kind != list[str]):
            return value
        wholes = [" ".join([value, *words[:count]]) for count in range(1, len(words) + 1)]
        count = max((n for n, whole in enumerate(wholes, 1) if _exists(whole)), default=0)
        if not count and not Path(value).suffix and not _looks_like_image(value):
            suffixes = [n for n, word in enumerate(words, 1) if Path(word).suffix]
            count = min(suffixes, default=len(words))
        for _ in range(count):
            self.rest.popleft()
        return wholes[count - 1] if count else value

    def _refuse(self, typed: str, fact: str, *meant: str) -> None:
        self.refused.append((typed, fact))
        self.meant += meant


def _known(word: str) -> str:
    """Return the key that a word means: as it is, by another name, without its section; or ""."""
    if word in SYNONYMS or _is_key(word):
        return SYNONYMS.get(word, word)
    same = [key for key in known_keys() if key.rpartition(".")[2] == word]
    return same[0] if len(same) == 1 else ""


def _override(word: str, key: str, values: Sequence[str]) -> list[str]:
    """Return what to type for a key with these values; nothing if it needs one."""
    value, kind = ",".join(values), type_of(key)
    if "=" in key:
        return [key]
    if word in ("device", "cuda", "gpu", "gpu_id"):
        return _device(word, value.lower())
    if not values:
        return [f"{key}=true"] if kind is bool else []
    value = _VALUES.get((key, value), value)
    if key in groups():
        same = [name for name in groups()[key] if _plain(name) == _plain(value)]
        return [f"{key}={same[0] if same else value}"]
    if get_origin(kind) is list and (key not in ONE_OR_MORE or "," in value):
        return [f"{key}=[{value}]"]
    return [f"{key}={value}"]


def _device(word: str, value: str) -> list[str]:
    if word == "cuda":  # a switch
        value = {"1": "true", "0": "false"}.get(value, value)
    kind, _, index = value.rpartition(":")
    if index.isdigit():
        return [f"trainer.accelerator={kind}"] * bool(kind) + [f"trainer.device={index}"]
    names = {"-1": "cpu", "false": "cpu", "no": "cpu", "": "gpu", "true": "gpu", "yes": "gpu"}
    return [f"trainer.accelerator={names.get(value, value)}"]


def _plain(name: str) -> str:
    return re.sub("[-_ ]", "", name.lower())


def _is_key(word: str) -> bool:
    return word in known_keys() or word in groups()


def _is_typed(text: str) -> bool:
    """Tell whether a text is a setting or an option, and no part of the value before it."""
    name, equals, _ = text.partition("=")
    return bool(equals and name) or (text[:1] == "-" and not text[1:2].isdigit())


def _is_given(key: str, arguments: Sequence[str]) -> bool:
    names = (text.partition("=")[0].lstrip("-+").replace("-", "_") for text in arguments)
    return any(SYNONYMS.get(name, name) == key for name in names)


def _exists(path: str) -> bool:
    return os.path.exists(os.path.expanduser(path))


def _looks_like_image(text: str) -> bool:
    return Path(text).suffix.lower() in image_suffixes() or find_image(text) is not None


def _default(key: str) -> str:
    node: Any = Config()
    for name in key.split("."):
        node = getattr(node, name)
    return f"{node:g}"
