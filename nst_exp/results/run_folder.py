"""Folders of runs: what they hold, which one a run may use, and what is removed from it."""

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nst_exp.config.output import image_of
from nst_exp.config.schema import Config
from nst_exp.config.serialize import config_as_dict, flat, format_value
from nst_exp.results.record import (
    KEYS_NOT_FINGERPRINTED,
    RECORD,
    SAVED_INPUTS,
    Record,
    compute_fingerprint,
    read_record,
    write_json,
)
from nst_exp.utils.errors import ConfigError
from nst_exp.utils.paths import LATEST

CHECKPOINT = "last.ckpt"
# By every run, apart from its result; the record is removed last.
_WRITTEN = (
    *("events.out.tfevents.*", "snapshots/step_*.png", "losses.csv", CHECKPOINT, LATEST),
    *("metrics.csv", "hparams.yaml"),
)

_SHOWN = 4  # differences in a message


@dataclass(frozen=True)
class RunFolder:
    """A run's folder with its record."""

    path: Path
    record: dict[str, Any]  # content of result.json
    status: str  # done, running, interrupted, failed; missing without a record
    config: dict[str, Any]  # nested plain values
    figure: dict[str, Any]  # a section of the config
    overrides: list[str]  # of the command line
    image: Path | None  # of the result, if it exists

    @property
    def label(self) -> str:
        """Text below the panel: the configured one, else made from the folder's name."""
        name = re.sub(r"^\d+_", "", self.path.absolute().name)
        return str(self.figure.get("label") or self.config.get("panel") or name)

    def input(self, kind: str) -> dict[str, str]:
        """Return path and hash of an input such as ``style[1]``; empty if not known."""
        found: dict[str, str] = self.record.get("inputs", {}).get(kind, {})
        return found

    def saved_input(self, kind: str) -> Path | None:
        """Return an input as the run used it, if the run saved it."""
        name = SAVED_INPUTS.get(kind)
        return self.path / name if name and self.input(kind).get("copy") == name else None


def read_run_folder(folder: Path) -> RunFolder:
    """Read the folder of a run; a record that is damaged or missing counts as empty."""
    record = read_record(folder)
    config = record.get("config", {})
    name = config.get("image", "")
    # A record may come from somebody else and must not name a file elsewhere.
    has_image = Path(name).name == name and (folder / name).is_file()
    return RunFolder(
        path=folder,
        record=record,
        status=record.get("status", "missing"),
        config=config,
        figure=config.get("figure", {}),
        overrides=record.get("overrides", []),
        image=folder / name if has_image else None,
    )


def find_run_folders(folder: Path) -> list[Path]:
    """Return ``folder`` itself if it holds a run, else its subfolders that do."""
    if (folder / RECORD).is_file():
        return [folder]
    return sorted(path.parent for path in folder.glob(f"*/{RECORD}"))


def check_compatible(folder: Path, config: Config, hashes: Sequence[str]) -> dict[str, Any]:
    """Check that a run may start or resume in a folder; nothing is changed there.

    Args:
        folder: Folder of the run; it need not exist.
        config: Config of the run; with ``overwrite`` whatever the folder holds may be replaced.
        hashes: SHA-256 of the run's inputs, in the order of its record.

    Returns:
        The record of the same run, which is resumed, also with more steps; empty for a fresh start.

    Raises:
        ConfigError: If the folder holds another run, files and no run at all, or a run that cannot
            get more steps.
    """
    record, file = read_record(folder), image_of(config.out)
    if file and not record and not config.overwrite and os.path.lexists(file):
        raise ConfigError(
            f"out={config.out}: this file exists; give another name, or overwrite=true to replace "
            "it"
        )
    if config.overwrite or (record.get("status") == "failed" and "fingerprint" not in record):
        return {}  # a run that failed so early left nothing but its record
    if record.get("fingerprint") == _fingerprint(record, config, hashes):
        longer = record.get("status") == "done" and not is_done(record, config)
        if longer and not (folder / CHECKPOINT).is_file():
            raise ConfigError(
                f"steps={config.steps}: the run in out={folder} is done with "
                f"steps={record['config']['steps']}, and its state, {CHECKPOINT}, is missing; give "
                "another out=DIR, or overwrite=true to start again"
            )
        return record
    if record:
        raise ConfigError(
            f"out={folder}: holds another run (status {record.get('status')}), made with "
            f"{describe_differences(record, config, hashes)}; give another out=DIR, or "
            "overwrite=true to start again"
        )
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    # Hidden files and logs exist before the record.
    foreign = [name for name in names if not name.startswith(".") and not name.endswith(".log")]
    if foreign:
        raise ConfigError(
            f"out={folder}: holds files of no recorded run, such as {foreign[0]}; give another "
            "folder, or overwrite=true to write into this one"
        )
    return {}


def is_done(record: Mapping[str, Any], config: Config) -> bool:
    """Tell whether a recorded run is done, with all the steps that a config of it asks for."""
    return record.get("status") == "done" and _fewer_steps(record, config) is None


def _fewer_steps(record: Mapping[str, Any], config: Config) -> int | None:
    """Return the steps of a recorded run if a config asks for more, else None."""
    steps = (record.get("config") or {}).get("steps")
    return steps if isinstance(steps, int) and steps < (config.steps or 0) else None


def _fingerprint(record: Mapping[str, Any], config: Config, hashes: Sequence[str]) -> str:
    """Compute the fingerprint that a recorded run has if the config is the same, or has more steps.

    A checkpoint does not depend on the steps to come.
    """
    fewer = _fewer_steps(record, config)
    return compute_fingerprint(config if fewer is None else replace(config, steps=fewer), hashes)


def describe_differences(record: dict[str, Any], config: Config, hashes: Sequence[str]) -> str:
    """Describe how a recorded run differs from a config, such as ``steps=10 instead of 20``."""
    old, new = (
        _flat_entries({k: v for k, v in c.items() if k not in KEYS_NOT_FINGERPRINTED})
        for c in (record.get("config") or {}, config_as_dict(config))
    )
    found = [
        f"{key}={format_value(old[key])} instead of {format_value(value)}"
        for key, value in new.items()
        if key in old and old[key] != value
    ]
    inputs: dict[str, dict[str, str]] = record.get("inputs") or {}
    pairs = zip(inputs.items(), hashes, strict=False)
    changed = [key for (key, entry), sha256 in pairs if entry.get("sha256") != sha256]
    named = {key: key.partition("[")[0] for key in changed}  # style[1] is an entry of style
    found += [
        f"another image in the file of {key}"
        for key, name in named.items()
        if old.get(name) == new.get(name)
    ]
    if found:
        return _listed(found)
    added = [key for key in new if key not in old]
    return "another version of nst_exp" + (f", which lacks {_listed(added)}" if added else "")


def _listed(words: Sequence[str]) -> str:
    more = [f"{len(words) - _SHOWN} more"] if len(words) > _SHOWN else []
    return ", ".join([*words[:_SHOWN], *more])


def _flat_entries(settings: dict[str, Any]) -> dict[str, Any]:
    """Flatten settings, also lists of them: ``resolution.levels[0].steps``."""
    found: dict[str, Any] = {}
    for key, value in flat(settings).items():
        if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            for index, entry in enumerate(value):
                found |= flat(entry, f"{key}[{index}].")
        else:
            found[key] = value
    return found


def open_folder(folder: Path, config: Config, hashes: Sequence[str]) -> dict[str, Any]:
    """Check a folder as ``check_compatible`` does, and remove an earlier run that is replaced.

    Files that the earlier run did not write stay.
    """
    earlier = check_compatible(folder, config, hashes)
    replaced = read_run_folder(folder)
    if earlier or not replaced.record:
        return earlier
    written = [path for pattern in (*_WRITTEN, RECORD) for path in folder.glob(pattern)]
    if film := replaced.config.get("film"):
        written.insert(0, folder / Path(film).name)
    for path in (replaced.image, *map(replaced.saved_input, SAVED_INPUTS), *written):
        if path is not None:
            path.unlink(missing_ok=True)
    for name in ("snapshots", "inputs"):
        with suppress(OSError):  # it does not exist, or holds other files
            (folder / name).rmdir()
    return {}


def record_failure(
    folder: Path, config: Config | None, error: BaseException, overrides: Sequence[str] = ()
) -> None:
    """Write the record of a job that failed, also where it failed before it had one.

    A finished run stays as it is. Errors of writing are ignored: the job's own matters more.
    """
    run = read_run_folder(folder)
    if run.status == "done" and run.image:
        return
    record: dict[str, Any] = {"overrides": list(overrides)}
    if config is not None:
        record = Record(folder, config, overrides=list(overrides)).as_dict()
    failure = {"status": "failed", "error": f"{type(error).__name__}: {error}"}
    with suppress(Exception):
        write_json(folder / RECORD, (run.record or record) | failure)
