"""Settings of runs as text: values, captions, names of files, and which keys differ."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nst_exp.config.serialize import flat, format_value
from nst_exp.results.record import KEYS_NOT_FINGERPRINTED
from nst_exp.results.run_folder import RunFolder
from nst_exp.results.sweep_plan import split_overrides

_NOT_COMPARED = frozenset(KEYS_NOT_FINGERPRINTED) - {"panel"} | {
    *("image", "hydra", "max_megapixels"),
    *("backbone.sources", "backbone.fallback"),
}
NOT_GIVEN = "not given"
_CAPTIONS = {"backbone": "{}", "steps": "{} steps"}  # of other keys: "size {}"


def number(text: str) -> float | None:
    """Return the number that a text is; None for other texts."""
    found = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf", text.strip())
    return float(text) if found else None


def normalize(text: str) -> str:
    """Write equal numbers in the same way: 5, 5.0 and 5e0 as 5."""
    value = number(text)
    return text if value is None else format_value(value)


def names_of_files(values: Iterable[str]) -> dict[str, str]:
    """Return for each value the name of the file, if it is a path; paths, if names are equal."""
    found = {v: Path(v).name if "/" in v and Path(v).suffix else v for v in dict.fromkeys(values)}
    return found if len(set(found.values())) == len(found) else {value: value for value in found}


def file_name(text: str, taken: Iterable[str]) -> str:
    """Turn a text into a part of a file's name that any system allows and that is not taken."""
    name = free = re.sub(r"[^\w=.,+-]+", "_", text).strip("._-")[:60] or "none"
    count = 2
    while free.lower() in map(str.lower, taken):  # some systems ignore case
        free, count = f"{name}_{count}", count + 1
    return free


def describe_settings(
    runs: Sequence[RunFolder], keys: Iterable[str], varied: Sequence[str] = ()
) -> str:
    """Describe main settings such as ``content chelsea, vgg16, size 384, 150 steps``.

    The ``keys`` are of content, style, backbone, size and steps; ``varied`` ones are left out.
    """
    runs = [run for run in runs if run.config]
    parts = []
    for key in keys:
        if runs and key not in varied and f"{key}.name" not in varied:
            values = list(dict.fromkeys(_setting(run, key) for run in runs))
            text = " / ".join(values[:4] + ["..."] * (len(values) > 4))
            parts.append(_CAPTIONS.get(key, f"{key} {{}}").format(text))
    return ", ".join(parts)


def _setting(run: RunFolder, key: str) -> str:
    value = run.config[key]
    if key == "steps" and value is None:
        value = run.record.get("step")  # that were done
    if key == "backbone":
        used = run.record.get("weights", {}).get("backbone", value["name"])  # after a fallback
        return f"{used} with random weights" if value["weights"] == "random" else str(used)
    return Path(value).stem if isinstance(value, str) else format_value(value)


def varied_keys(
    runs: Sequence[tuple[list[str], dict[str, Any]]], known: Iterable[str] = ()
) -> list[str]:
    """Find the keys that differ between runs, after those that are ``known`` to differ.

    Overrides come first, so that a group of presets counts as one key; then the keys of the config
    that differ between runs whose overrides agree. Keys that do not change the image are left out.
    """
    given = [(split_overrides(overrides), flat(config)) for overrides, config in runs]
    overrides = dict.fromkeys(key for own, _ in given for key in own)

    def differs(key: str, places: Iterable[int]) -> bool:
        found = {value_of(key, *given[place]) for place in places}
        return len(found - {""}) > 1

    everywhere = range(len(given))
    found = list(known)
    found += [k for k in overrides if k not in found and _compared(k) and differs(k, everywhere)]
    alike: dict[tuple[str, ...], list[int]] = {}
    for place, run in enumerate(given):
        alike.setdefault(tuple(value_of(key, *run) for key in found), []).append(place)
    configs = [key for key in dict.fromkeys(k for _, c in given for k in c) if _compared(key)]
    several = [places for places in alike.values() if len(places) > 1]
    found += [k for k in configs if k not in found and any(differs(k, own) for own in several)]
    return found


def value_of(key: str, overrides: dict[str, str], config: dict[str, Any]) -> str:
    """Return what a run has for a key or group.

    That is NOT_GIVEN if neither its command nor its config names the key, and empty without a
    config.
    """
    if key in overrides and not isinstance(config.get(key), int | float):
        return overrides[key]  # of a number, the config's value: 5, 5.0 and 5e0 are equal
    for name in (key, f"{key}.name", f"{key}.kind"):
        if name in config:
            return format_value(config[name])
    return NOT_GIVEN if config else ""


def _compared(key: str) -> bool:
    parts = key.split(".")
    return parts[0] not in _NOT_COMPARED and ".".join(parts[:2]) not in _NOT_COMPARED
