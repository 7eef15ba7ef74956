"""SHA-256 hashes of files, and published prefixes of them."""

import hashlib
import re
from pathlib import Path

from nst_exp.utils.errors import WeightsError


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 lower-case hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_sha256(sha256: str, what: str) -> str:
    """Return a published hash in lower case; a WeightsError names ``what`` if it is too short."""
    digits = sha256.lower()
    if not re.fullmatch("[0-9a-f]{8,64}", digits):  # torchvision publishes the first 8
        raise WeightsError(
            f"{what}={sha256!r}: needs 8 to 64 hex digits; weights without a hash are not fetched"
        )
    return digits


def verify_sha256(path: Path, expected: str) -> str:
    """Return the SHA-256 of a file; raise a WeightsError unless it begins with ``expected``."""
    found = sha256_of(path)
    if found.startswith(expected):
        return found
    with path.open("rb") as file:
        page = file.read(64).lstrip().lower().startswith((b"<!doctype", b"<html"))
    hint = " (a web page: the login or error page of a proxy?)" if page else ""
    raise WeightsError(
        f"wrong content{hint}: SHA-256 is {found[:16]}..., should be {expected[:16]}..."
    )
