"""Configs as plain values."""

import json
from dataclasses import asdict
from enum import Enum
from typing import Any

from nst_exp.config.schema import Config


def plain(value: Any) -> Any:
    """Convert enums, also those inside lists and dicts, to their names, as JSON needs them."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def config_as_dict(config: Config) -> dict[str, Any]:
    """Convert a config to nested dicts of plain values; a single style is a text."""
    settings = {key: plain(value) for key, value in asdict(config).items()}
    if len(config.style) == 1:
        settings["style"] = config.style[0]
    return settings


def flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested dicts into one with dotted keys."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def format_value(value: Any) -> str:
    """Write a value as in an override: ``[relu1_1,relu2_1]``, ``null``, ``0.5``."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return f"[{','.join(map(format_value, value))}]"
    if isinstance(value, dict):
        entries = (f"{key}: {format_value(v)}" for key, v in value.items() if v not in (None, {}))
        return f"{{{', '.join(entries)}}}"
    return repr(value).removesuffix(".0") if isinstance(value, float) else json.dumps(value)
