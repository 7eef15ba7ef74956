"""Hydra's and OmegaConf's exceptions, said in one line that names the key and the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nst_exp.compose import groups, unknown_key
from nst_exp.errors import did_you_mean

_TYPES = {
    "Integer": "must be a whole number, written out (1000, not 1e3)",
    "Float": "must be a number",
    "Boolean": "must be true or false",
}


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def complaint(error: Exception, arguments: list[str]) -> str:
    """What is wrong, for the person who typed ``arguments``."""
    text = "\n".join(str(link) for link in _chain(error))
    given = {a.lstrip("+~").partition("=")[0]: a for a in arguments if "=" in a}
    if match := re.search(r"Could not (?:override|append to config|delete)[^']*'([^']+)'", text):
        key = match[1].partition("=")[0].lstrip("+~")
        if key == "experiment":
            return f"experiment: write it with a plus sign: +{given.get(key, 'experiment=NAME')}"
        if key in groups() and "Multiple values" in text:
            return f"{key}: chosen twice"
        return unknown_key(key)
    if match := re.search(r"Could not find '([\w]+)/([^']+)'", text):
        group, name = match[1], match[2]
        names = groups().get(group, [])
        return (
            f"{group}={name}: no such preset{did_you_mean(name, names)}\n"
            f"    there are: {', '.join(names) or 'none'}"
        )
    if match := re.search(r"Key '([^']+)' (?:not in|is not in struct)", text):
        full = re.search(r"full_key: (\S+)", text)
        return unknown_key(full[1] if full else match[1])
    if match := re.search(
        r"Value '(.*?)' of type '\w+' could not be converted to (\w+)\s+full_key: (\S+)", text, re.S
    ):
        typed = given.get(match[3], f"{match[3]}={match[1]}")
        return f"{typed}: {_TYPES.get(match[2], 'must be of type ' + match[2])}"
    if match := re.search(
        r"Invalid value '(.*?)', expected one of \[(.*?)\]\s+full_key: (\S+)", text, re.S
    ):
        choices = match[2].split(", ")
        return (
            f"{match[3]}={match[1]}: must be one of {', '.join(choices)}"
            f"{did_you_mean(match[1], choices)}"
        )
    if "OverrideParseException" in {type(link).__name__ for link in _chain(error)}:
        bad = re.search(r"Error parsing override '(.*?)'", text, re.S) or re.search(
            r"Error when parsing index: \d+, string: (.*?) out of", text, re.S
        )
        which = bad[1] if bad else " ".join(arguments)
        key, equals, value = which.partition("=")
        way_out = f"""quote the value: '{key}="{value}"'""" if equals else "write KEY=VALUE"
        return f"{which}: cannot be read; {way_out}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[:3]) or type(error).__name__
