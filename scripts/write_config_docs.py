"""Write docs/configuration.md from the schema: ``python scripts/write_config_docs.py``."""

import json
import typing
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any

from nst_exp.config.schema import Config, Optimizer
from nst_exp.config.serialize import plain

TARGET = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"

INTRODUCTION = """# Every key

Made from the schema by `python scripts/write_config_docs.py`; do not edit.

Set a key on the command line (`KEY=VALUE`), in a preset of your own (`--config-dir FOLDER`), or in
`overrides` from Python. The values below are the schema's; presets change some of them, and
`python -m nst_exp --cfg job` shows what is really used. Bounds of a list hold for each entry.
"""


def page() -> str:
    """Return the whole page."""
    return INTRODUCTION + "".join(_sections(Config, "Top level", ""))


def _sections(cls: type, title: str, prefix: str, inherited: type | None = None) -> Iterator[str]:
    """Yield the section of a dataclass, then those of the dataclasses in its fields."""
    types = typing.get_type_hints(cls)
    known = {f.name: f.metadata for f in fields(inherited)} if inherited else {}
    rows: list[str] = []
    nested: list[tuple[Any, str]] = []
    for f in fields(cls):
        if known.get(f.name) is f.metadata:
            continue
        key = f"{prefix}{f.name}"
        if is_dataclass(types[f.name]):
            if types[f.name] in dict(nested):  # described already, as for `reference`
                rows.append(f"| `{key}` |  |  | {f.metadata['key'].help} |")
            else:
                nested.append((types[f.name], key))
            continue
        rows.append(_row(f, key))
        suffix = {list: "[]", dict: ".NAME"}.get(typing.get_origin(types[f.name]))
        if suffix and is_dataclass(entry := typing.get_args(types[f.name])[-1]):
            nested.append((entry, key + suffix))
    if rows:
        head = "| key | default | allowed | meaning |\n|---|---|---|---|\n"
        text = (cls.__doc__ or "").replace("``", "`")
        yield f"\n## {title}\n\n{text}\n\n{head}" + "\n".join(rows) + "\n"
    if cls is Optimizer:
        for kind in Optimizer.__subclasses__():
            yield from _sections(kind, f"optimizer={kind.__name__.lower()}", prefix, Optimizer)
    for inner, key in nested:
        yield from _sections(inner, key, f"{key}.")


def _row(f: Field[Any], key: str) -> str:
    default = f.default if f.default_factory is MISSING else f.default_factory()
    shown = json.dumps(plain(default)).strip('"') or "''"
    info = f.metadata["key"]
    allowed = ", ".join(map(str, info.choices)) or info.allowed()
    cells = [f"`{key}`", shown, allowed, info.help]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
    print(TARGET)
