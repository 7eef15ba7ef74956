"""Hydra's and OmegaConf's exceptions, said in one line that names the key and the way out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from hydra.errors import OverrideParseException

from nst_exp.compose import groups, quoted, unknown_key
from nst_exp.errors import did_you_mean

# Groups and presets of Hydra's plugins -> the extra that installs the plugin.
_PLUGINS = {
    ("hydra/launcher", "joblib"): "joblib",
    ("hydra/launcher", "submitit_local"): "submitit",
    ("hydra/launcher", "submitit_slurm"): "submitit",
    ("hydra/launcher", "ray"): "ray",
    ("hydra/sweeper", "optuna"): "optuna",
    ("hydra/sweeper/sampler", "tpe"): "optuna",
}
_TYPES = {
    "Integer": "must be a whole number, written out (1000, not 1e3)",
    "Float": "must be a number",
    "bool": "must be true or false",
}


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def complaint(error: Exception, arguments: list[str]) -> str:
    """What is wrong, for the person who typed ``arguments``."""
    text = "\n".join(str(link) for link in _chain(error))
    given = {a.lstrip("+~").partition("=")[0]: a for a in arguments if "=" in a}

    def typed(key: str, value: str = "") -> str:
        return given.get(key, f"{key}={value}")

    if match := re.search(
        r"An item is already at '([^']+)'|Multiple values for ([^\s.]+(?:\.\w+)*)\.", text
    ):
        key = match[1] or match[2]
        without = typed(key).lstrip("+")
        return f"{key}: it is there already; write it without the plus sign: {without}"
    if match := re.search(r"Could not delete '([^'=]+)=([^']*)'", text):
        return f"~{match[1]}={match[2]}: that is not what {match[1]} is"
    if match := re.search(r"Could not (?:override|append to config|delete)[^']*'([^']*)'", text):
        key = match[1].partition("=")[0].lstrip("+~")
        if not key:
            return f"{' '.join(arguments)}: cannot be read; write KEY=VALUE"
        if key == "experiment":
            return f"experiment: write it with a plus sign: +{typed(key, 'NAME')}"
        if match := re.match(r"hydra\.(launcher|sweeper)\.", key):
            group = f"hydra/{match[1]}"
            if group not in given:
                return f"{key}: only with {group}=NAME"
            return f"{key}: {given[group]} has no such key"
        return unknown_key(key)
    if match := re.search(r"Could not find '([\w/]+)/([^'/]+)'", text):
        group, name = match[1], match[2]
        if extra := _PLUGINS.get((group, name)):
            return f"{group}={name}: its plugin is not installed: pip install 'nst_exp[{extra}]'"
        # Hydra's list has the presets of --config-dir as well.
        listed = re.search(rf"Available options in '{group}':\n((?:\t.*\n?)*)", text)
        names = listed[1].split() if listed else groups().get(group, [])
        return (
            f"{group}={name}: no such preset{did_you_mean(name, names)}\n"
            f"    there are: {', '.join(names) or 'none'}"
        )
    if "Config group override must be a string" in text:
        chosen = " ".join(a for key, a in given.items() if key in groups())
        return f"{chosen}: a group is set to the name of a preset, or its keys one by one"
    if match := re.search(r"Key '([^']+)' (?:not in|is not in struct)", text):
        full = re.search(r"full_key: (\S+)", text)
        return unknown_key(full[1] if full else match[1])
    if match := re.search(r"does not support deletion\s+full_key: (\S+)", text):
        return f"{match[1]}: this key cannot be taken away"
    if match := re.search(r"field '([^']+)' is not Optional", text):
        return f"{typed(match[1], 'null')}: needs a value"
    if match := re.search(r"is not a ListConfig, list or tuple\.\s+full_key: (\S+)", text):
        return f"{typed(match[1])}: must be a list: {match[1]}=[...]"
    if match := re.search(r"Invalid type assigned: .*?\s+full_key: (\S+)", text, re.S):
        return f"{typed(match[1])}: it has keys of its own; set {match[1]}.KEY=VALUE"
    if match := re.search(
        r"Value '(.*?)' (?:of type '\w+' could not be converted to|is not a valid) (\w+)"
        r"(?: \(type \w+\))?\s+full_key: (\S+)",
        text,
        re.S,
    ):
        what = _TYPES.get(match[2], f"must be of type {match[2]}")
        return f"{typed(match[3], match[1])}: {what}"
    if match := re.search(
        r"Invalid value '(.*?)', expected one of \[(.*?)\]\s+full_key: (\S+)", text, re.S
    ):
        choices = match[2].split(", ")
        return (
            f"{match[3]}={match[1]}: must be one of {', '.join(choices)}"
            f"{did_you_mean(match[1], choices)}"
        )
    unreadable = [str(e.override) for e in _chain(error) if isinstance(e, OverrideParseException)]
    ambiguous = re.findall(r"Ambiguous value for argument '(.*)'", text)
    for argument in ambiguous + unreadable:
        key, equals, value = argument.partition("=")
        if not equals:
            return f"{argument}: cannot be read; write KEY=VALUE"
        several = "; for a sweep over several values add -m" if ambiguous else ""
        way_out = shlex.quote(f"{key}=" + quoted(value, '"'))
        return f"{argument}: cannot be read; quote the value: {way_out}{several}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[:3]) or type(error).__name__
