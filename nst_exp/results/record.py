"""The record of a run, ``result.json``."""

import hashlib
import importlib.metadata
import json
import logging
import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from nst_exp.config.schema import Config
from nst_exp.config.serialize import config_as_dict
from nst_exp.utils.atomic_files import write_text_atomically

RECORD = "result.json"
_PACKAGES = ("nst-exp", "torch", "torchvision", "pytorch-lightning", "hydra-core", "pillow")
# Keys that do not change the image.
KEYS_NOT_FINGERPRINTED = (
    *("out", "overwrite", "force", "fail_fast", "logging", "panel", "figure", "images", "film"),
    *("stand_ins", "keep_checkpoint", "pair"),
    "reference",  # measures the result
)
# A run that is a panel of a figure saves its inputs here, as it used them.
SAVED_INPUTS = {"content": "inputs/content.jpg", "style": "inputs/style.jpg"}


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the main packages."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
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


@dataclass
class Record:
    """What happened in a run, saved as ``result.json``; entries that are None are left out."""

    folder: Path | None
    config: Config
    status: str = "running"  # done, interrupted, failed
    started: str = field(default_factory=_now)
    overrides: list[str] = field(default_factory=list)  # of the command line
    fingerprint: str | None = None
    inputs: dict[str, dict[str, str]] | None = None
    weights: dict[str, Any] | None = None
    layers: dict[str, list[str]] | None = None
    own_terms: list[str] | None = None  # names of loss terms that a caller added
    normalized: dict[str, Any] | None = None
    trackers: dict[str, str] | None = None  # runs of mlflow, wandb and trackio
    levels: list[dict[str, Any]] | None = None
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
        known = {name: value for name, value in vars(self).items() if value is not None}
        known.pop("folder", None)
        process = {"pid": os.getpid(), "host": platform.node()}
        known |= {"updated": _now(), "process": process, "versions": versions()}
        return known | {"config": config_as_dict(self.config)}

    def save(self, status: str) -> None:
        """Write ``result.json`` with this status."""
        self.status = status
        if self.folder is not None:
            write_json(self.folder / RECORD, self.as_dict())


def read_record(folder: Path) -> dict[str, Any]:
    """Read the record in a folder; empty if it is missing or damaged."""
    return read_json(folder / RECORD)


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of ``write_json``; empty if it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a record or plan; an OutputError says why this is impossible."""
    write_text_atomically(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


class _WarningCollector(logging.Handler):
    """Appends each warning to a list, once."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if line not in self.lines:
            self.lines.append(line)


@contextmanager
def collected_warnings(lines: list[str]) -> Iterator[None]:
    """Append the warnings of this package to ``lines``, each once."""
    logger, collector = logging.getLogger("nst_exp"), _WarningCollector(lines)
    logger.addHandler(collector)
    try:
        yield
    finally:
        logger.removeHandler(collector)
