"""What Tab completes: keys, presets, values and files; made without Hydra, so it is there at once.

Hydra's script for the shell (``nst-exp -sc install=bash``) asks for it with ``-sc query=bash``.
"""

import os
import shlex
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

from nst_exp.app.known_keys import OPTIMIZERS
from nst_exp.config.keys import Key, walk
from nst_exp.config.presets import groups
from nst_exp.config.schema import Config

OPTIONS = ("--cfg", "--config-dir", "--help", "--info", "--multirun", "--version")
IMAGES = ("content", "style")  # files, or names of images
FILES = (
    *("content_map", "style_map", "init.file", "backbone.file", "backbone.calibration"),
    *("images", "out", "from_image"),
)
_NOT_TYPED = ("optimizer.kind",)  # set by presets


def print_completions(shell: str) -> None:
    """Print what may stand for the last word of ``$COMP_LINE``, as the shell's script reads it."""
    separator = "\n" if shell == "fish" else " "
    print(separator.join(complete(os.environ.get("COMP_LINE", ""))))


def complete(line: str) -> list[str]:
    """Return what the last word of a command line may become, sorted."""
    *before, word = line.split(" ")
    if before and before[-1] in ("--config-dir", "-cd"):
        return _files(word)
    if word.startswith("-"):
        return [option for option in OPTIONS if option.startswith(word)]
    key, equals, _ = word.lstrip("+").partition("=")
    if not equals:
        return sorted({name for name in _names(word) if name.startswith(word)})
    start = max(map(word.rfind, "=[,")) + 1  # of the value, or of the last one in a list
    values = map(partial(str.__add__, word[:start]), _values(key, word[start:], before))
    return sorted(value for value in values if value.startswith(word))


def _known() -> Iterator[tuple[str, object, Key]]:
    for kind in OPTIMIZERS.values():
        for key, value, info in walk(Config(optimizer=kind())):
            if not isinstance(value, dict) and key not in _NOT_TYPED and ".fallback" not in key:
                yield key, value, info


def _names(word: str) -> Iterator[str]:
    """Yield keys up to the next dot after the word, and groups of presets."""
    head = word[: word.rfind(".") + 1]
    for key, _, _ in _known():
        if key.startswith(head):
            name, dot, _ = key[len(head) :].partition(".")
            yield head + name + (dot or "=")
    if not head:
        yield from (f"+{group}=" if group == "experiment" else f"{group}=" for group in groups())
        yield "from_image="


def _values(key: str, part: str, before: list[str]) -> list[str]:
    if key in groups():
        own = [Path(folder) for flag, folder in pairwise(before) if flag in ("--config-dir", "-cd")]
        return [*groups()[key], *(p.stem for folder in own for p in folder.glob(f"{key}/*.yaml"))]
    if key in IMAGES:
        from nst_exp.images.catalog import catalog

        return [*catalog(), *_files(part)]
    if key in FILES:
        return _files(part)
    for name, value, info in _known():
        if name == key:
            return ["true", "false"] if isinstance(value, bool) else [str(c) for c in info.choices]
    return []


def _files(part: str) -> list[str]:
    """Return the files and folders whose path begins so, but for names that need quotes."""
    folder, slash, start = part.rpartition("/")
    try:
        entries = list(os.scandir(os.path.expanduser(folder + slash) or "."))
    except OSError:
        return []
    return sorted(
        f"{folder}{slash}{entry.name}" + "/" * entry.is_dir()
        for entry in entries
        if entry.name.startswith(start)
        and entry.name.startswith(".") <= start.startswith(".")
        and shlex.quote(entry.name) == entry.name
    )
