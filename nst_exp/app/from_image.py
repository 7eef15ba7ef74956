"""``from_image=old.png``: replay the overrides of the command that made an image.

An image may come from a stranger. Only overrides of the schema's keys and of packaged presets are
taken from it, none with a reference (``${...}``); Hydra's own keys, which can run code, and the
places of results are left out; addresses of weights are refused.
"""

import json
from collections.abc import Iterator, Sequence

from nst_exp.app.compose import make_config
from nst_exp.app.hydra_options import split_arguments
from nst_exp.app.overrides import check_arguments
from nst_exp.config.presets import groups
from nst_exp.config.serialize import config_as_dict, flat
from nst_exp.images import read_metadata
from nst_exp.utils.errors import ConfigError

# Where a result is written is decided by the new command.
_NOT_REPEATED = ("out", "overwrite", "force", "fail_fast", "keep_checkpoint", "from_image")
# Where presets of backbones may be put beside the groups themselves.
_PACKAGES = ("", "reference", "backbone.fallback")


def expand(arguments: Sequence[str]) -> list[str]:
    """Replace ``from_image=IMAGE`` by the overrides that made the image.

    The other arguments come after them and win. A preset that is chosen anew replaces all that was
    set in its group, and brings its keys outside of it, such as beta.

    Raises:
        ConfigError: If the image holds no overrides, or overrides that are not accepted.
    """
    chosen = [text for text in arguments if text.startswith("from_image=")]
    others = [text for text in arguments if text not in chosen]
    if len(chosen) > 1:
        raise ConfigError("from_image: is given twice; give one image")
    if not chosen:
        return others
    path = chosen[0].partition("=")[2].strip("'\"")
    options, overrides = split_arguments(others)
    given = [_key(text) for text in overrides]
    replaced = {*given, *_NOT_REPEATED, *_brought(others)}
    left_out = ("hydra.", "hydra/", *(f"{group}." for group in given))
    stored = [
        text
        for text in _read_overrides(path)
        if _key(text) not in replaced and not _key(text).startswith(left_out)
    ]
    own = [f"{o}={value}" for o, value in options.items() if o == "--config-dir"]
    try:
        if problems := [problem for text in stored for problem in _problems(text)]:
            raise ConfigError(problems)
        check_arguments([*own, *stored])
    except ConfigError as error:
        # A stranger's words are shown on one line, without commands to the terminal.
        shown = [text if text.isprintable() else ascii(text) for text in error.problems]
        raise ConfigError([f"from_image={path}: {text[:300]}" for text in shown]) from None
    if "figure.title" not in given and any(_key(text) == "experiment" for text in stored):
        stored.append("figure.title=''")  # the figure shows panels of the old command
    return [*stored, *others]


def _key(text: str) -> str:
    return text.lstrip("+~").partition("=")[0]


def _read_overrides(path: str) -> list[str]:
    try:
        overrides = json.loads(read_metadata(path, key="from_image")["nst_exp"])["overrides"]
        if not all(isinstance(text, str) for text in overrides):
            raise ValueError("not a list of texts")
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"from_image={path}: holds no settings, which another program may have removed; give "
            "an image made by nst_exp"
        ) from error
    return list(overrides)


def _problems(text: str) -> Iterator[str]:
    """Say why an override is not accepted from an image, where a command line may have it."""
    key, _, package = _key(text).partition("@")
    if text.startswith("-"):
        yield f"{text}: is an option; give it yourself"
    if "${" in text or "???" in text or not text.isprintable():
        yield f"{text}: holds a reference, or signs that no setting has; give the value yourself"
    if package not in _PACKAGES or (key in groups() and "/" in text):
        yield f"{text}: is not a packaged preset in its own group; give it yourself"
    if key.startswith(("backbone", "reference")) and "sources" in text:
        yield (
            f"{text}: addresses of weights are not taken from an image; if you trust them, "
            "give backbone.sources=[...] yourself, else backbone=PRESET"
        )


def _brought(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the keys outside its group that a preset among the arguments sets."""
    own = groups()
    presets = [text for text in arguments if text.partition("=")[2] in own.get(_key(text), ())]
    if presets:
        before, after = (flat(config_as_dict(make_config(p))) for p in ([], presets))
        yield from (key for key, value in after.items() if before.get(key, value) != value)
