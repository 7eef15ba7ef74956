"""The cache: weights converted once into safetensors, each with a record of where it came from.

``<cache>/weights/<architecture>-<16 hex digits of the source's SHA-256>.safetensors`` and the same
name with ``.json``. A file is believed only if its SHA-256 is the one in its record.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import BinaryIO

from nst_exp.utils.atomic_files import write_atomically
from nst_exp.utils.paths import cache_folder

_VERSION = 1  # raised when the conversion changes: older files are then made anew
_DIGITS = 16


class DamagedError(Exception):
    """A cached file is not what its record says, or has none."""


@dataclass(frozen=True)
class Record:
    """What is known of a cached file."""

    name: str  # architecture
    sha256: str  # of the safetensors file
    source_sha256: str  # of the file as published
    source: str
    credit: str
    version: int = _VERSION


def weights_folder() -> Path:
    """The folder of converted weights in the cache."""
    return cache_folder() / "weights"


def stem(name: str, source_sha256: str) -> str:
    """How the files of architecture ``name`` from that source begin (a prefix will do)."""
    return f"{name}-{source_sha256[:_DIGITS].lower()}"


def find(name: str, source_sha256: str) -> Path | None:
    """The cached file of architecture ``name`` from the source with that SHA-256, or prefix."""
    if not source_sha256:
        return None
    pattern = f"{glob.escape(stem(name, source_sha256))}*.safetensors"
    return min(weights_folder().glob(pattern), default=None)


def entries() -> Iterator[Path]:
    """Every converted file in the cache, sorted by name."""
    yield from sorted(weights_folder().glob("*.safetensors"))


def read_record(path: Path) -> Record:
    """The record of a cached file. Raises ``DamagedError``."""
    record = path.with_suffix(".json")
    try:
        _require_file(record)
        content = json.loads(record.read_bytes())
        known = {field.name: content[field.name] for field in fields(Record)}
    except FileNotFoundError:
        raise DamagedError(f"its record {record.name} is missing") from None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedError(f"its record {record.name} cannot be read ({error})") from error
    if known["version"] != _VERSION:
        raise DamagedError("it was made by another version of nst_exp")
    if not all(isinstance(value, str) for key, value in known.items() if key != "version"):
        raise DamagedError(f"its record {record.name} cannot be read (an entry is no text)")
    return Record(**known)


def read(path: Path) -> tuple[Record, bytes]:
    """A cached file's record and content, its SHA-256 checked. Raises ``DamagedError``."""
    record = read_record(path)
    try:
        _require_file(path)
        content = path.read_bytes()
    except OSError as error:
        raise DamagedError(f"it cannot be read ({error.strerror})") from error
    found = hashlib.sha256(content).hexdigest()
    if found != record.sha256:
        raise DamagedError(f"its SHA-256 is {found[:16]}..., should be {record.sha256[:16]}...")
    return record, content


def _require_file(path: Path) -> None:
    """Raise ``OSError`` for a pipe, which reading would wait for, or anything else but a file."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not a regular file")


def write(content: bytes, *, name: str, source_sha256: str, source: str, credit: str) -> Path:
    """Put converted weights into the cache, then their record.

    Raises ``OSError`` or ``OutputError`` where the cache cannot be written.
    """
    path = weights_folder() / f"{stem(name, source_sha256)}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    record = Record(name, hashlib.sha256(content).hexdigest(), source_sha256, source, credit)
    for place in (path, path.with_suffix(".json")):
        if place.exists() and not place.is_file() and not place.is_dir():
            place.unlink()  # a pipe or such, which a file is not put in the place of elsewhere
    _write(path, content)
    _write(path.with_suffix(".json"), json.dumps(asdict(record), indent=2).encode() + b"\n")
    return path


def _write(path: Path, content: bytes) -> None:
    def put(file: BinaryIO) -> None:
        file.write(content)

    write_atomically(path, put)
