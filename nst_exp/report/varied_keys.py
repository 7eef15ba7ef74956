"""Which settings differ between runs that no plan speaks of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from nst_exp.config.serialize import flat
from nst_exp.results.record import KEYS_NOT_FINGERPRINTED

Settings = tuple[list[str], dict[str, Any]]  # overrides, config of a run

_ASIDE = frozenset(KEYS_NOT_FINGERPRINTED) - {"panel"} | {"image", "hydra", "max_megapixels"}


def varied_keys(runs: Sequence[Settings], known: Iterable[str] = ()) -> list[str]:
    """The keys that differ between runs, beyond those ``known`` already.

    First those that the commands differ in, a group of presets as one key; then those of the
    settings, where these differ although everything before is equal: what a preset or a panel
    settles is not named again. Keys that do not change the picture are left out. Runs without
    overrides (empty) or without a config (empty) are passed over in the one or the other.
    """
    given = [{k: v for k, v in _pairs(overrides) if _counts(k)} for overrides, _ in runs]
    flats = [flat(config) for _, config in runs]
    asked = dict.fromkeys(key for values in given for key in values)
    columns = {
        key: [_text(values, settings, key) for values, settings in zip(given, flats, strict=True)]
        for key in [*known, *asked]
    }
    found = [key for key in columns if _differs(columns[key])]
    chosen = [columns[key] for key in found]
    for key in dict.fromkeys(key for settings in flats for key in settings if _counts(key)):
        column = [spoken(settings.get(key)) if settings else None for settings in flats]
        if key not in found and _differs(column) and not _settled(column, chosen):
            found.append(key)
            chosen.append(column)
    already = set(known)
    return [key for key in found if key not in already]


def spoken(value: Any) -> str:
    """A setting as a command line would have it: ``[relu1_1,relu2_1]``, ``null``, ``0.5``."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return f"[{','.join(map(spoken, value))}]"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        return str(int(value))
    return json.dumps(value)


def _pairs(overrides: Iterable[str]) -> Iterable[tuple[str, str]]:
    for word in overrides:
        key, _, value = word.lstrip("+~").partition("=")
        yield key, value


def _counts(key: str) -> bool:
    return key.split(".")[0] not in _ASIDE and key != "backbone.sources"


def _text(given: dict[str, str], settings: dict[str, Any], key: str) -> str | None:
    """What a run has for a key; None if its record does not say."""
    if key in given:
        text = given[key]
        # 5, 5.0 and 5e0 are one value: that of the record.
        return spoken(settings[key]) if isinstance(settings.get(key), int | float) else text
    value = next(
        (settings[k] for k in (key, f"{key}.name", f"{key}.kind") if settings.get(k) is not None),
        None,
    )
    return None if value is None else spoken(value)


def _differs(column: Iterable[str | None]) -> bool:
    return len({value for value in column if value is not None}) > 1


def _settled(column: Sequence[str | None], chosen: Sequence[Sequence[str | None]]) -> bool:
    """Whether runs with the same chosen values never differ in this one."""
    seen: dict[tuple[str | None, ...], str] = {}
    for number, value in enumerate(column):
        if value is not None:
            before = tuple(other[number] for other in chosen)
            if seen.setdefault(before, value) != value:
                return False
    return True
