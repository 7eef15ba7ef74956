"""Folders of runs: what they hold, which one a run may use, and what is removed from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nst_exp.config.schema import Config
from nst_exp.results.record import SAVED_INPUTS, Record, read_record, this_process, write_record
from nst_exp.utils.errors import ConfigError

LOCK = ".lock"
_WRITTEN = ("losses.csv", "last.ckpt", "result.json")


@dataclass(frozen=True)
class RunFolder:
    """A run's folder with its record; entries that are damaged or missing are empty."""

    path: Path
    record: dict[str, Any]  # content of result.json

    @property
    def status(self) -> str:
        """One of done, running, interrupted, failed; missing without a record."""
        return str(self.record.get("status", "missing"))

    @property
    def config(self) -> dict[str, Any]:
        """The run's config as nested plain values."""
        return _section(self.record, "config")

    @property
    def figure(self) -> dict[str, Any]:
        """The section ``figure`` of the config."""
        return _section(self.config, "figure")

    @property
    def overrides(self) -> list[str]:
        """Overrides of the command line."""
        found = self.record.get("overrides")
        return [str(word) for word in found] if isinstance(found, list) else []

    @property
    def substitutions(self) -> list[tuple[str, str]]:
        """What was used instead of something not available, and why."""
        return [
            (f"{entry.get('by')} instead of {asked}", str(entry.get("because", "")))
            for entry in self._substituted()
            for asked in [next((v for k, v in entry.items() if k not in ("by", "because")), "?")]
        ]

    @property
    def backbone(self) -> str:
        """Name of the network that was used, after a fallback."""
        asked = _section(self.config, "backbone")
        used = [entry.get("by") for entry in self._substituted() if "backbone" in entry]
        random = " with random weights" if asked.get("weights") == "random" else ""
        return f"{used[0] if used else asked.get('name')}{random}"

    @property
    def title(self) -> str:
        """Title of the figure that this run is a panel of; empty for none."""
        return str(self.figure.get("title") or "")

    @property
    def label(self) -> str:
        """Text below the panel: the configured one, else made from the folder's name."""
        name = re.sub(r"^\d+_", "", self.path.absolute().name)
        return str(self.figure.get("label") or self.config.get("panel") or name)

    @property
    def image(self) -> Path | None:
        """Path of the resulting image, whether it exists or not; None without a valid name."""
        name = self.config.get("image")
        # A record may come from somebody else and must not name any other file.
        return self.path / name if isinstance(name, str) and Path(name).name == name else None

    def input(self, kind: str) -> dict[str, Any]:
        """Return path, hash and saved copy of the content image or the style image."""
        return _section(_section(self.record, "inputs"), kind)

    def _substituted(self) -> list[dict[str, Any]]:
        found = self.record.get("substituted")
        return [e for e in found if isinstance(e, dict)] if isinstance(found, list) else []


def read_run_folder(folder: Path) -> RunFolder:
    """Read the folder of a run; a record that is damaged or missing counts as empty."""
    return RunFolder(folder, read_record(folder))


def find_run_folders(folder: Path) -> list[Path]:
    """Return ``folder`` itself if it holds a run, else its subfolders that do, 2 before 10."""
    if _is_run(folder):
        return [folder]
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _is_run(path)), key=_natural)


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
    """Check a folder as ``check_compatible`` does, and remove an earlier run that is replaced."""
    earlier = check_compatible(folder, fingerprint, overwrite)
    if not earlier:
        _clear(read_run_folder(folder))
    return earlier


def record_failure(
    folder: Path, config: Config | None, error: BaseException, overrides: Sequence[str] = ()
) -> None:
    """Write the record of a job that failed, also where it failed before it had one.

    A finished run stays as it is. Errors of writing are ignored: the job's own matters more.
    """
    run = read_run_folder(folder)
    if run.status == "done" and run.image is not None and run.image.is_file():
        return
    record: dict[str, Any] = {"overrides": list(overrides)}
    if config is not None:
        record = Record(folder, config, overrides=list(overrides)).as_dict()
    record = (run.record or record) | {
        "status": "failed",
        "error": f"{type(error).__name__}: {error}",
        "process": this_process(),
    }
    with suppress(Exception):
        write_record(folder, record)


def _foreign_files(folder: Path) -> list[str]:
    """List what is in a folder apart from the files written before a run has its record."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    early = (".log", ".tmp")
    return [n for n in names if n not in (".hydra", LOCK) and not n.endswith(early)]


def _clear(run: RunFolder) -> None:
    """Remove what the recorded run wrote; other files in the folder stay."""
    if not run.record:
        return
    found = [*run.path.glob("events.out.tfevents.*"), *run.path.glob("snapshots/step_*.png")]
    for kind, name in SAVED_INPUTS.items():
        if run.input(kind).get("copy") == name:
            found.append(run.path / name)
    for path in (*found, run.image, *map(run.path.joinpath, _WRITTEN)):
        if path is not None:
            path.unlink(missing_ok=True)
    for name in ("snapshots", "inputs"):
        with suppress(OSError):  # it does not exist, or holds other files
            (run.path / name).rmdir()


def _section(values: dict[str, Any], key: str) -> dict[str, Any]:
    found = values.get(key)
    return found if isinstance(found, dict) else {}


def _is_run(folder: Path) -> bool:
    return (folder / "result.json").is_file()


def _natural(path: Path) -> list[Any]:
    # Words and numbers by turns, so that two names can always be compared.
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]
