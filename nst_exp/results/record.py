"""A run's folder and its record, ``result.json``."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from nst_exp.config.schema import Config
from nst_exp.config.serialize import config_as_dict
from nst_exp.utils.atomic_files import write_text_atomically
from nst_exp.utils.errors import ConfigError, OutputError

PACKAGES = ("nst-exp", "torch", "torchvision", "pytorch-lightning", "hydra-core", "pillow")
# Keys that do not change the picture.
ASIDE = ("out", "overwrite", "logging", "panel", "figure", "images", "stand_ins", "fail_fast")
# Where a run whose config asks for a figure keeps its pictures as used; see copies.py.
COPIES = {"content": "inputs/content.jpg", "style": "inputs/style.jpg"}


def versions() -> dict[str, str]:
    """Python's and the main packages' versions."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # run from a folder of sources
            found[package] = "not installed"
    return found


def fingerprint(config: Config, inputs: Iterable[str]) -> str:
    """A hash of all that decides what the picture is: the config and the inputs' hashes."""
    settings = {k: v for k, v in config_as_dict(config).items() if k not in ASIDE}
    text = json.dumps([settings, list(inputs)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class Record:
    """What happened in a run. Saved as ``result.json``; ``values`` are its other entries."""

    folder: Path | None
    config: Config
    status: str = "running"  # done, interrupted, failed
    warnings: list[str] = field(default_factory=list)
    substituted: list[dict[str, str]] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    started: str = field(default_factory=_now)
    overrides: list[str] = field(default_factory=list)  # of the command line

    def as_dict(self) -> dict[str, Any]:
        """What ``result.json`` holds."""
        return {
            "status": self.status,
            "started": self.started,
            "updated": _now(),
            "process": {"pid": os.getpid(), "host": platform.node()},
            **self.values,
            "warnings": self.warnings,
            "substituted": self.substituted,
            "versions": versions(),
            "overrides": self.overrides,
            "config": config_as_dict(self.config),
        }

    def save(self, status: str) -> None:
        """Write ``result.json`` with this status."""
        if self.folder is not None:
            write_record(self.folder, self.as_dict() | {"status": status})
        self.status = status


def write_record(folder: Path, values: dict[str, Any]) -> None:
    """Write ``result.json``. Raises OutputError."""
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    write_text_atomically(folder / "result.json", text)


def record_failure(
    folder: Path, config: Config | None, error: BaseException, overrides: Sequence[str] = ()
) -> None:
    """Write the record of a job that failed, also where it failed before it had one.

    A record of a finished run stays as it is. Errors of writing are ignored: the job's own matters
    more.
    """
    record = read_record(folder)
    if not record:
        run = Record(folder, config, overrides=list(overrides)) if config is not None else None
        record = run.as_dict() if run is not None else {"overrides": list(overrides)}
    elif record.get("status") == "done" and (folder / _image_name(record)).is_file():
        return
    record |= {
        "status": "failed",
        "error": f"{type(error).__name__}: {error}",
        "process": {"pid": os.getpid(), "host": platform.node()},
    }
    with suppress(Exception):
        write_record(folder, record)


def _image_name(record: dict[str, Any]) -> str:
    config = record.get("config")
    return str(config.get("image")) if isinstance(config, dict) else "image.png"


def read_record(folder: Path) -> dict[str, Any]:
    """The record that a folder holds; empty if there is none that can be read."""
    try:
        record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def check_compatible(folder: Path, mark: str, image: str, overwrite: bool) -> dict[str, Any]:
    """The record of an earlier run with the same mark in the folder; empty for a fresh start.

    ``mark`` is the fingerprint, ``image`` the result's name. Raises ConfigError if the folder holds
    another run, or a picture of that name that no run made, unless ``overwrite`` is set.
    """
    record = read_record(folder)
    if overwrite or (record.get("status") == "failed" and "fingerprint" not in record):
        return {}  # what failed so early has made nothing
    if not record and (folder / image).exists():
        raise ConfigError(
            f"out={folder}: holds a file {image} already, which no run recorded there has made; "
            "give another folder or another image=NAME, or overwrite=true to replace it"
        )
    if not record or record.get("fingerprint") == mark:
        return record
    raise ConfigError(
        f"out={folder}: holds another run (status {record.get('status')}), made with other "
        "settings or images; give another folder, or overwrite=true to replace it"
    )


def open_folder(folder: Path, mark: str, image: str, overwrite: bool) -> dict[str, Any]:
    """Make the run's folder usable and return what ``check_compatible`` finds there.

    ``overwrite`` clears what an earlier run left. Raises ConfigError as ``check_compatible`` does,
    and OutputError if nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".nst-probe-{os.getpid()}.tmp"  # a leftover, should this be killed now
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"out={folder}: cannot be written ({error.strerror})") from error
    if record := check_compatible(folder, mark, image, overwrite):
        return record
    if (folder / "result.json").exists():  # otherwise nothing here was made by a run
        _clear(folder, read_record(folder))
    return {}


def _clear(folder: Path, record: dict[str, Any]) -> None:
    """Remove what an earlier run wrote, and nothing else: the folder may be a person's own."""
    settings = record.get("config")
    image = settings.get("image") if isinstance(settings, dict) else None
    found = [*folder.glob("events.out.tfevents.*"), *folder.glob("snapshots/step_*.png")]
    if isinstance(image, str) and image == Path(image).name:
        found.append(folder / image)
    inputs = record.get("inputs")
    for key, name in COPIES.items():
        entry = inputs.get(key) if isinstance(inputs, dict) else None
        if isinstance(entry, dict) and entry.get("copy") == name:
            found.append(folder / name)
    for path in [*found, folder / "last.ckpt", folder / "result.json"]:
        path.unlink(missing_ok=True)
    for name in ("snapshots", "inputs"):
        with suppress(OSError):  # there is none, or it holds other files
            (folder / name).rmdir()
