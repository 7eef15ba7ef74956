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
    status: str  # done, running, interrupted, failed; missing without a record
    config: dict[str, Any]  # nested plain values
    figure: dict[str, Any]  # a section of the config
    overrides: list[str]  # of the command line
    substitutions: list[tuple[str, str]]  # "vgg16 instead of vgg19", and why
    backbone: str  # name of the network that was used, after a fallback
    image: Path | None  # of the result, whether it exists or not; None without a valid name

    @property
    def title(self) -> str:
        """Title of the figure that this run is a panel of; empty for none."""
        return str(self.figure.get("title") or "")

    @property
    def label(self) -> str:
        """Text below the panel: the configured one, else made from the folder's name."""
        name = re.sub(r"^\d+_", "", self.path.absolute().name)
        return str(self.figure.get("label") or self.config.get("panel") or name)

    def input(self, kind: str) -> dict[str, Any]:
        """Return path, hash and saved copy of the content image or the style image."""
        return _section(_section(self.record, "inputs"), kind)


def read_run_folder(folder: Path) -> RunFolder:
    """Read the folder of a run; a record that is damaged or missing counts as empty."""
    record = read_record(folder)
    config = _section(record, "config")
    substituted = [entry for entry in _list(record, "substituted") if isinstance(entry, dict)]
    asked = _section(config, "backbone")
    used = [entry.get("by") for entry in substituted if "backbone" in entry]
    random = " with random weights" if asked.get("weights") == "random" else ""
    name = config.get("image")
    # A record may come from somebody else and must not name any other file.
    is_name = isinstance(name, str) and Path(name).name == name
    return RunFolder(
        path=folder,
        record=record,
        status=str(record.get("status", "missing")),
        config=config,
        figure=_section(config, "figure"),
        overrides=[str(override) for override in _list(record, "overrides")],
        substitutions=[_describe(entry) for entry in substituted],
        backbone=f"{used[0] if used else asked.get('name')}{random}",
        image=folder / str(name) if is_name else None,
    )


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
    """List what is in a folder apart from hidden files and logs, which exist before the record."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [name for name in names if not name.startswith(".") and not name.endswith(".log")]


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


def _list(values: dict[str, Any], key: str) -> list[Any]:
    found = values.get(key)
    return found if isinstance(found, list) else []


def _describe(entry: dict[str, Any]) -> tuple[str, str]:
    asked = [value for key, value in entry.items() if key not in ("by", "because")]
    return f"{entry.get('by')} instead of {(asked or ['?'])[0]}", str(entry.get("because", ""))


def _is_run(folder: Path) -> bool:
    return (folder / "result.json").is_file()


def _natural(path: Path) -> list[Any]:
    # Words and numbers by turns, so that two names can always be compared.
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]
