"""``report.html``: template, style, script and data as one page that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from importlib.resources import files
from typing import Any

GENERATOR = "nst_exp report"  # in the file: only reports are replaced by reports
_SCRIPTS = ("page.js", "table.js", "charts.js", "pictures.js", "start.js")
_SLOT = re.compile(r"\{\{(\w+)\}\}")


def render(data: dict[str, Any]) -> str:
    """The page for what ``page_data`` gives.

    Texts come from users: the script writes them as text only, and no other script than the
    page's own may run, nor may anything be fetched (Content-Security-Policy).
    """
    script = "\n".join(["", '"use strict";', *map(_file, _SCRIPTS)])
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    slots = {
        "title": html.escape(str(data["title"])),
        "generator": html.escape(GENERATOR),
        "hash": digest,
        "style": _file("page.css"),
        "data": _json(data),
        "script": script,
    }
    return _SLOT.sub(lambda match: slots[match[1]], _file("page.html"))  # once: no slot in a text


def _file(name: str) -> str:
    return files(__package__).joinpath("web", name).read_text(encoding="utf-8")


def _json(data: dict[str, Any]) -> str:
    """JSON that neither ends a script element nor opens a comment in it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
