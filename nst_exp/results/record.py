"""The record of a run, ``result.json``, and the rule for which folder a run may use."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from nst_exp.config.schema import Config
from nst_exp.config.serialize import config_as_dict
from nst_exp.utils.atomic_files import write_text_atomically
from nst_exp.utils.errors import ConfigError, OutputError

PACKAGES = ("nst-exp", "torch", "torchvision", "pytorch-lightning", "hydra-core", "pillow")
LOCK = ".lock"
# Keys that do not change the image.
KEYS_NOT_FINGERPRINTED = (
    "out",
    "overwrite",
    "logging",
    "panel",
    "figure",
    "images",
    "stand_ins",
    "fail_fast",
)
# A run that is a panel of a figure saves its inputs here, as it used them.
SAVED_INPUTS = {"content": "inputs/content.jpg", "style": "inputs/style.jpg"}


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the main packages."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # run from a folder of sources
            found[package] = "not installed"
    return found


def compute_fingerprint(config: Config, inputs: Iterable[str]) -> str:
    """Hash everything that determines the image: the config and the hashes of the inputs."""
    settings = {k: v for k, v in config_as_dict(config).items() if k not in KEYS_NOT_FINGERPRINTED}
    text = json.dumps([settings, list(inputs)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": platform.node()}


@dataclass
class Record:
    """What happened in a run, saved as ``result.json``; entries that are None are left out."""

    folder: Path | None
    config: Config
    overrides: list[str] = field(default_factory=list)  # of the command line
    status: str = "running"  # done, interrupted, failed
    started: str = field(default_factory=_now)
    fingerprint: str | None = None
    inputs: dict[str, dict[str, str]] | None = None
    weights: dict[str, Any] | None = None
    layers: dict[str, list[str]] | None = None
    normalized: dict[str, Any] | None = None
    losses: dict[str, float] | None = None
    metrics: dict[str, float] | None = None
    step: int | None = None
    evaluations: int | None = None
    restarts: int | None = None
    seconds: float | None = None
    width: int | None = None
    height: int | None = None
    device: str | None = None
    threads: int | None = None
    cpu: str | None = None  # instruction set
    error: str | None = None
    warnings: list[str] = field(default_factory=list)
    substituted: list[dict[str, str]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the content of ``result.json``."""
        entries = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        known = {
            name: value
            for name, value in entries.items()
            if name not in ("folder", "config", "status", "started") and value is not None
        }
        return {
            "status": self.status,
            "started": self.started,
            "updated": _now(),
            "process": _this_process(),
            **known,
            "versions": dict(versions()),
            "config": config_as_dict(self.config),
        }

    def save(self, status: str) -> None:
        """Write ``result.json`` with this status."""
        self.status = status
        if self.folder is not None:
            write_record(self.folder, self.as_dict())


def write_record(folder: Path, values: dict[str, Any]) -> None:
    """Write ``result.json``.

    Raises:
        OutputError: If it cannot be written.
    """
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
        "process": _this_process(),
    }
    with suppress(Exception):
        write_record(folder, record)


def _image_name(record: dict[str, Any]) -> str:
    config = record.get("config")
    return str(config.get("image")) if isinstance(config, dict) else "image.png"


def read_record(folder: Path) -> dict[str, Any]:
    """Read the record in a folder; empty if it is missing or damaged."""
    try:
        record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def check_compatible(folder: Path, fingerprint: str, overwrite: bool) -> dict[str, Any]:
    """Check that a run may start or resume in a folder; nothing is changed there.

    Args:
        folder: Folder of the run; it need not exist.
        fingerprint: Fingerprint of the run.
        overwrite: Whether whatever the folder holds may be replaced.

    Returns:
        The record of the same run, which is resumed; empty for a fresh start.

    Raises:
        ConfigError: If the folder holds another run, or files and no run at all.
    """
    record = read_record(folder)
    if overwrite or (record.get("status") == "failed" and "fingerprint" not in record):
        return {}  # a run that failed so early left nothing but its record
    if record.get("fingerprint") == fingerprint:
        return record
    if record:
        raise ConfigError(
            f"out={folder}: holds another run (status {record.get('status')}), made with other "
            "settings or images; give another folder, or overwrite=true to replace it"
        )
    if found := _foreign_files(folder):
        raise ConfigError(
            f"out={folder}: holds files of no recorded run, such as {found[0]}; give another "
            "folder, or overwrite=true to write into this one"
        )
    return {}


def open_folder(folder: Path, fingerprint: str, overwrite: bool) -> dict[str, Any]:
    """Make the folder of a run and check it as ``check_compatible`` does.

    With ``overwrite``, the files of an earlier run are removed.

    Raises:
        ConfigError: As ``check_compatible`` does.
        OutputError: If nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".nst-probe-{os.getpid()}.tmp"  # named like other temporary files
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"out={folder}: cannot be written ({error.strerror})") from error
    earlier = check_compatible(folder, fingerprint, overwrite)
    if not earlier:
        _clear(folder, read_record(folder))
    return earlier


def _foreign_files(folder: Path) -> list[str]:
    """List what is in a folder apart from the files written before a run has its record."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [
        name
        for name in names
        if name not in (".hydra", LOCK) and not name.endswith((".log", ".tmp"))
    ]


def _clear(folder: Path, record: dict[str, Any]) -> None:
    """Remove what the recorded run wrote; other files in the folder stay."""
    if not record:
        return
    config, inputs = record.get("config"), record.get("inputs")
    image = config.get("image") if isinstance(config, dict) else None
    copies = inputs.values() if isinstance(inputs, dict) else []
    names = {entry.get("copy") for entry in copies if isinstance(entry, dict)}
    found = [*folder.glob("events.out.tfevents.*"), *folder.glob("snapshots/step_*.png")]
    found += [folder / name for name in SAVED_INPUTS.values() if name in names]
    if isinstance(image, str) and image == Path(image).name:
        found.append(folder / image)
    for name in ("losses.csv", "last.ckpt", "result.json"):
        found.append(folder / name)
    for path in found:
        path.unlink(missing_ok=True)
    for name in ("snapshots", "inputs"):
        with suppress(OSError):  # it does not exist, or holds other files
            (folder / name).rmdir()
