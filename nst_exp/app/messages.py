"""One exception of Hydra or OmegaConf, said in one line that names the key and the way out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from hydra.errors import OverrideParseException
from yaml import MarkedYAMLError

from nst_exp.app.compose import NEEDS_PRESET, known_keys, quoted, unknown_key
from nst_exp.config.presets import groups
from nst_exp.utils.suggest import did_you_mean

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
    "int": "must be a whole number, written out (1000, not 1e3)",
    "Float": "must be a number",
    "float": "must be a number",
    "bool": "must be true or false",
    "str": "must be a text",
    "string": "must be a text",
}
NOT_GLOBAL = (
    "experiment: its file must begin with the line '# @package _global_' and hold KEY: VALUE"
)
OWN_FILE = "a file of presets (--config-dir)"


def chain(
    error: BaseException | None, beyond: BaseException | None = None
) -> Iterator[BaseException]:
    """The exception, and those that led to it; ``beyond`` is no part of them."""
    while error is not None and error is not beyond:
        yield error
        error = error.__cause__ or error.__context__


class _Typed:
    """What the person has typed, by key."""

    def __init__(self, arguments: list[str]) -> None:
        self.arguments = arguments
        self.given = {a.lstrip("+~").partition("=")[0]: a for a in arguments if "=" in a}

    def __call__(self, key: str, value: str = "") -> str:
        """``KEY=VALUE`` as it was typed, or with ``value`` where a file of presets holds it."""
        return self.given.get(key, f"{key}={value}")


def line_about(error: Exception, arguments: list[str], beyond: BaseException | None = None) -> str:
    """What is wrong, for the person who typed ``arguments``.

    ``beyond`` is an exception that was being handled when this one came.
    """
    links = list(chain(error, beyond))
    text = "\n".join(str(link) for link in links)
    typed = _Typed(arguments)
    for judge in (_of_file, _of_plus, _of_group, _of_key, _of_value):
        if line := judge(text, typed):
            return line
    yaml = next((link for link in links if isinstance(link, MarkedYAMLError)), None)
    if yaml is not None:
        return _of_yaml(yaml)
    if line := _unreadable(links, text, typed):
        return line
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[:3]) or type(error).__name__


def _of_file(text: str, typed: _Typed) -> str | None:
    if match := re.search(r"Additional config directory '(.*)' not found", text):
        return f"--config-dir {match[1]}: no such folder; name the folder of your own presets"
    if match := re.search(r"Cannot find primary config '(.*?)'", text):
        return f"--config-name {match[1]}: no such file; leave it out, and choose +experiment=NAME"
    if match := re.search(r"In '([^']+)': Could not load '(?:\w+/)*?([\w/]+)'", text):
        if match[1] == "config":
            group, _, name = match[2].partition("/")
            return (
                f"{typed(group)}: no such preset{did_you_mean(name, groups().get(group, []))}; "
                "choose a single one"
            )
        return f"{match[1]}: its defaults name '{match[2]}', which does not exist"
    return None


def _of_plus(text: str, typed: _Typed) -> str | None:
    match = re.search(
        r"An item is already at '([^']+)'|Multiple values for ([^\s.]+(?:\.\w+)*)\.|"
        r"^(\S+) appears more than once in the final defaults|"
        r"force-add of config groups is not supported: '\+\+([^'=]+)",
        text,
    )
    if match is None:
        return None
    key = next(name for name in match.groups() if name)
    without = typed(key).lstrip("+")
    return f"{key}: it is there already; write it without the plus sign: {without}"


def _of_group(text: str, typed: _Typed) -> str | None:
    if "Config group override" in text:
        chosen = next((a for key, a in typed.given.items() if key in groups()), "")
        if not chosen:
            return f"{next(iter(typed.given.values()), '')}: cannot be read; write KEY=VALUE"
        return f"{chosen}: a group is set to the name of a preset, or its keys one by one"
    if match := re.search(r"Could not delete '([^'=]+)=([^']*)'", text):
        return f"~{match[1]}={match[2]}: {NEEDS_PRESET}, {match[1]}=NAME"
    if match := re.search(r"Could not find '([\w/]+)/([^'/]*)'", text):
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
    if match := re.search(r"[Oo]verride '?([^\s'@]+)@[^\s']*", text):
        name = match[1] if match[1] in groups() else "GROUP"
        at = next((a for a in typed.arguments if "@" in a.partition("=")[0]), match[0])
        return f"{at}: '@' has no use here; write {name}=NAME"
    return None


def _of_key(text: str, typed: _Typed) -> str | None:
    if match := re.search(r"The value of '([^']+)' is .* and not (.*)\.", text):
        return f"~{match[1]}={match[2]}: this key cannot be taken away"
    if match := re.search(r"Key '([^']+)' not in '(\w+)'\s+full_key: \1\s", text):
        owner = next((key for key in typed.given if key in known_keys() and "." in key), "")
        if match[2] == "WeightSource":
            return (
                f"{typed(owner)}: an entry has no key '{match[1]}'"
                f"{did_you_mean(match[1], _SOURCE_KEYS)}"
            )
    if match := re.search(r"Could not (?:override|append to config|delete)[^']*'([^']*)'", text):
        key = match[1].partition("=")[0].lstrip("+~")
        if not key:
            return f"{' '.join(typed.arguments)}: cannot be read; write KEY=VALUE"
        if key == "experiment":
            return f"experiment: write it with a plus sign: +{typed(key, 'NAME')}"
        if key in groups():
            return f"{typed(key)}: a group is set to the name of a preset, or its keys one by one"
        if match := re.match(r"hydra\.(launcher|sweeper)\.", key):
            group = f"hydra/{match[1]}"
            if group not in typed.given:
                return f"{key}: only with {group}=NAME"
            return f"{key}: {typed.given[group]} has no such key"
        return unknown_key(key)
    if match := re.search(r"Key '([^']+)' (?:not in|is not in struct)", text):
        if match[1] == "experiment":
            return NOT_GLOBAL
        full = re.search(r"full_key: (\S+)", text)
        preset = re.search(r"In '([^']+)':", text)
        inside = preset is not None and preset[1] != "config"
        return unknown_key(full[1] if full else match[1]) + (
            f" (in {preset[1]})" if preset and inside else ""
        )
    if match := re.search(r"does not support deletion\s+full_key: (\S+)", text):
        return f"{match[1]}: this key cannot be taken away"
    return None


_SOURCE_KEYS = ["kind", "url", "package", "wheel_sha256", "member", "sha256", "megabytes", "credit"]


def _of_value(text: str, typed: _Typed) -> str | None:
    below = [key for key in typed.given if re.search(rf"full_key: {re.escape(key)}\s", text)]
    if match := re.search(r"full_key: (\S+)", text):
        inner = next((key for key in typed.given if key.startswith(f"{match[1]}.")), None)
        if inner and not below and "{}" in text:
            return f"{typed(inner)}: {match[1]} has no keys of its own; set {match[1]}=VALUE"
    if match := re.search(r"field '([^']+)' is not Optional", text):
        return f"{typed(match[1], 'null')}: needs a value"
    if match := re.search(r"is not a ListConfig, list or tuple\.\s+full_key: (\S+)", text):
        return f"{typed(match[1])}: must be a list: {match[1]}=[...]"
    if match := re.search(r"Cannot convert '\w+' to string: '(.*)'\s+full_key: (\S+)", text):
        return f"{typed(match[2], match[1])}: must be a single text; quote it: {match[2]}='...'"
    if match := re.search(
        r"Invalid type assigned: NoneType is not a subclass of (\w+)\..*?\s+full_key: (\S+)", text
    ):
        return f"{match[2]}=null: {_TYPES.get(match[1], 'needs a value')}"
    if match := re.search(
        r"(?:Invalid type assigned: .*?|Cannot assign \w+ to Dict\S* ?\S*)\s+full_key: (\S+)",
        text,
        re.S,
    ):
        return f"{typed(match[1])}: it has keys of its own; set {match[1]}.KEY=VALUE"
    if match := re.search(
        r"Value '(.*?)' (?:of type '\w+' could not be converted to|is not a valid) (\w+)"
        r"(?: \(type \w+\))?\s+full_key: (\S+)",
        text,
        re.S,
    ):
        what = _TYPES.get(match[2], f"must be of type {match[2]}")
        return f"{typed(match[3], match[1])}: {what}"
    if match := re.search(r"is not a valid input for <enum '\w+'>\s+full_key: (\S+)", text):
        return f"{typed(match[1])}: must be one name, such as those in docs/configuration.md"
    if match := re.search(
        r"Invalid value '(.*?)', expected one of \[(.*?)\]\s+full_key: (\S+)", text, re.S
    ):
        key, choices = match[3], match[2].split(", ")
        said = f"must be one of {', '.join(choices)}{did_you_mean(match[1], choices)}"
        if key not in known_keys():  # one inside a list
            owner = next((k for k in typed.given if k.startswith("backbone.")), key)
            return f"{typed(owner)}: {key}={match[1]} {said}"
        return f"{key}={match[1]}: {said}"
    return None


def _of_yaml(error: MarkedYAMLError) -> str:
    """A file of a person's own presets that is not YAML."""
    mark = error.problem_mark or error.context_mark
    place = f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}" if mark else OWN_FILE
    return f"{place}: {error.problem or error.context}; correct the YAML there"


def _unreadable(links: list[BaseException], text: str, typed: _Typed) -> str | None:
    """An argument outside Hydra's grammar."""
    unreadable = [str(link.override) for link in links if isinstance(link, OverrideParseException)]
    ambiguous = re.findall(r"Ambiguous value for argument '(.*)'", text)
    for argument in ambiguous + unreadable:
        key, equals, value = argument.partition("=")
        if not equals:
            return f"{argument}: cannot be read; write {_with_equals(argument, typed.arguments)}"
        if key != key.strip() or re.search(r"[^\w./@+~-]|\.\.|^\.|\.$", key):
            nearest = unknown_key(re.sub(r"\.+", ".", re.sub(r"[^\w.]", "", key)).strip("."))
            hint = nearest.partition("; ")[2] or "write KEY=VALUE without blanks"
            return f"{argument}: cannot be read, since '{key}' is no key; {hint}"
        behind = re.search(r"\s([\w.]+)=", value)
        if behind and behind[1] in known_keys():
            return f"{argument}: cannot be read; write the settings as arguments of their own"
        several = "; for a sweep over several values add -m" if ambiguous else ""
        way_out = shlex.quote(f"{key}=" + quoted(value, '"'))
        return f"{argument}: cannot be read; quote the value: {way_out}{several}"
    return None


def _with_equals(argument: str, arguments: list[str]) -> str:
    """``lr = 3`` and ``lr= 3`` arrive as several arguments."""
    if argument in arguments:
        at = arguments.index(argument)
        behind = arguments[at + 1 : at + 3]
        if len(behind) == 2 and behind[0] == "=":
            return f"it without blanks: {argument}={behind[1]}"
        if at and arguments[at - 1].endswith("="):
            return f"it without blanks: {arguments[at - 1]}{argument}"
        if behind and behind[0].startswith("=") and len(behind[0]) > 1:
            return f"it without blanks: {argument}{behind[0]}"
        if ":" in argument and argument.partition(":")[0] in known_keys():
            return argument.replace(":", "=", 1)
    return "KEY=VALUE"
