"""Write docs/configuration.md from the schema: ``python scripts/write_config_docs.py``.

Keys, types and defaults come from the dataclasses of nst_exp/config/schema.py, their meaning
from the comments behind them.
"""

from __future__ import annotations

import ast
import re
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from nst_exp.config import schema as config
from nst_exp.results.record import plain

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "nst_exp" / "config" / "schema.py"
TARGET = ROOT / "docs" / "configuration.md"

INTRODUCTION = """# Every key

Made from the schema by `python scripts/write_config_docs.py`; do not edit.

Set a key on the command line (`KEY=VALUE`), in a preset of your own (`--config-dir FOLDER`), or in
`overrides` from Python. The values below are the schema's; presets change some of them, and
`python -m nst_exp --cfg job` shows what is really used.
"""
# Class -> the key that it stands under; in the order of the page.
SECTIONS = {
    "Config": "",
    "Backbone": "backbone",
    "WeightSource": "backbone.sources[]",
    "ContentLoss": "loss.content",
    "StyleLoss": "loss.style",
    "TVLoss": "loss.tv",
    "Init": "init",
    "Optimizer": "optimizer",
    "LBFGS": "optimizer",
    "Adam": "optimizer",
    "Parametrization": "optimizer.parametrization",
    "Resolution": "resolution",
    "TrainerConfig": "trainer",
    "Logging": "logging",
}


def _comments() -> dict[tuple[str, str], str]:
    """(class, field) -> the comment behind the field."""
    text = SOURCE.read_text(encoding="utf-8")
    lines = text.splitlines()
    found = {}
    for node in ast.parse(text).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                _, _, comment = lines[item.lineno - 1].partition("  # ")
                found[node.name, item.target.id] = comment
    return found


def _default(value: Any) -> str:
    value = plain(value)
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value) if value != "" else "''"


def _section(name: str, prefix: str, comments: dict[tuple[str, str], str]) -> str:
    cls = getattr(config, name)
    inherited = {f.name for base in cls.__mro__[1:-1] for f in fields(base)}
    rows = []
    for f in fields(cls):
        default = f.default
        if f.default_factory is not MISSING:
            default = f.default_factory()
        if is_dataclass(default) or (f.name in inherited and (name, f.name) not in comments):
            continue
        meaning = comments.get((name, f.name), "")
        if isinstance(default, Enum):
            meaning = f"{', '.join(type(default).__members__)}{'; ' * bool(meaning)}{meaning}"
        key = f"{prefix}.{f.name}" if prefix else f.name
        rows.append(f"| `{key}` | {_default(default)} | {meaning.replace('|', chr(92) + '|')} |")
    title = {"LBFGS": "optimizer=lbfgs", "Adam": "optimizer=adam"}.get(name, prefix or "Top level")
    says = re.sub(r"\s+", " ", (cls.__doc__ or "").replace("``", "`")).strip()
    head = f"\n## {title}\n\n{says}\n\n| key | default | meaning |\n|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


def page() -> str:
    """The whole page."""
    comments = _comments()
    return INTRODUCTION + "".join(_section(n, key, comments) for n, key in SECTIONS.items())


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
    print(TARGET)
