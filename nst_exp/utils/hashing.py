"""SHA-256 of files, and published prefixes of it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from nst_exp.utils.errors import WeightsError

_SHORTEST = 8  # digits of a prefix; torchvision publishes that many


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, 64 lower-case hex digits. Raises ``OSError``."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def published(sha256: str, what: str) -> str:
    """``sha256`` in lower case, or a ``WeightsError`` that names ``what`` if it proves nothing."""
    digits = sha256.lower()
    if not re.fullmatch(rf"[0-9a-f]{{{_SHORTEST},64}}", digits):
        raise WeightsError(
            f"{what}={sha256!r}: needs {_SHORTEST} to 64 hex digits; weights without a hash "
            "are not fetched"
        )
    return digits


def check(path: Path, expected: str) -> str:
    """The file's SHA-256 if it begins with ``expected``; else a ``WeightsError``."""
    found = sha256_of(path)
    if not found.startswith(expected):
        with path.open("rb") as file:
            page = file.read(64).lstrip().lower().startswith((b"<!doctype", b"<html"))
        hint = " (a web page: the login or error page of a proxy?)" if page else ""
        raise WeightsError(
            f"wrong content{hint}: SHA-256 is {found[:16]}..., should be {expected[:16]}"
            + ("..." if len(expected) > 16 else "")
        )
    return found
