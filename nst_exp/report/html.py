"""``report.html``: template, style, script and data as one self-contained page."""

import base64
import hashlib
import html
import json
import re
from importlib.resources import files
from typing import Any

from nst_exp.report.grid import SOFTWARE

GENERATOR = f'<meta name="generator" content="{SOFTWARE}">'
_SCRIPTS = (
    *("page.js", "numbers.js", "columns.js", "state.js", "colors.js"),
    *("plot.js", "curves.js", "scatter.js", "parallel.js"),
    *("table.js", "images.js", "compare.js", "viewer.js", "start.js"),
)
_SLOT = re.compile(r"\{\{(\w+)\}\}")


def render_page(data: dict[str, Any]) -> str:
    """Return the page for the values of ``page_data``.

    Texts come from users: the script writes them as text only, no other script may run, and nothing
    may be fetched (Content-Security-Policy).
    """
    script = "\n".join(["", '"use strict";', *map(_file, _SCRIPTS)])
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    slots = {
        "title": html.escape(str(data["title"])),
        "generator": GENERATOR,
        "hash": digest,
        "style": _file("page.css"),
        "data": _json(data),
        "script": script,
    }
    return _SLOT.sub(lambda match: slots[match[1]], _file("page.html"))  # slots in texts stay


def _file(name: str) -> str:
    return files(__package__).joinpath("web", name).read_text(encoding="utf-8")


def _json(data: dict[str, Any]) -> str:
    """Return JSON that can neither end a script element nor open a comment in it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
