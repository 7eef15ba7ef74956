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
_CAPTIONS = {"backbone": "{}", "steps": "{} steps"}  # of other keys: "size {}"


def number(text: str) -> float | None:
    """Return the number that a text is; None for other texts."""
    found = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf", text.strip())
    return float(text) if found else None


def normalize(text: str) -> str:
    """Write equal numbers in the same way: 5, 5.0 and 5e0 as 5."""
    value = number(text)
    return text if value is None else format_value(value)


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


def varied_keys(runs: Sequence[tuple[list[str], dict[str, Any]]]) -> list[str]:
    """Find the keys that differ between runs.

    Overrides are compared, with the config's value where a run has none, so that a group of presets
    counts as one key; if no override differs, configs are compared. Keys that do not change the
    image are left out.
    """
    given = [split_overrides(overrides) for overrides, _ in runs]
    flats = [flat(config) for _, config in runs]

    def differing(keys: Iterable[str]) -> list[str]:
        found = []
        for key in filter(_is_compared, dict.fromkeys(keys)):
            values = {value_of(key, *run) for run in zip(given, flats, strict=True)}
            if len(values - {""}) > 1:
                found.append(key)
        return found

    overrides = differing(key for values in given for key in values)
    return overrides or differing(key for config in flats for key in config)


def value_of(key: str, overrides: dict[str, str], config: dict[str, Any]) -> str:
    """Return what a run has for a key or group; empty if its record does not say."""
    if key in overrides and not isinstance(config.get(key), int | float):
        return overrides[key]  # of a number, the config's value: 5, 5.0 and 5e0 are equal
    values = [config.get(name) for name in (key, f"{key}.name", f"{key}.kind")]
    value = next((value for value in values if value is not None), None)
    return "" if value is None else format_value(value)


def _is_compared(key: str) -> bool:
    parts = key.split(".")
    return parts[0] not in _NOT_COMPARED and ".".join(parts[:2]) not in _NOT_COMPARED
