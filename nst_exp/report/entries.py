"""What a report is made from: the jobs of one or several sweeps, and what varies between them."""

from __future__ import annotations

import math
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nst_exp.config.serialize import flat
from nst_exp.report.varied_keys import spoken, varied_keys
from nst_exp.results.run_folder import RunFolder, find_run_folders, read_run_folder
from nst_exp.results.sweep_plan import PLAN, SweepJob, read_plan
from nst_exp.utils.errors import ConfigError

LOSSES = ("total", "content", "style", "tv")
_DEPTH = 2  # folders of folders of sweeps: outputs/sweep/DATE


@dataclass(frozen=True)
class Entry:
    """One job: a line of the table, a cell of the sheet."""

    number: int
    source: Path  # the folder that was given, or found below it: of the sweep, or of single runs
    job: RunFolder
    overrides: list[str]
    values: dict[str, str] = field(default_factory=dict)  # of the report's varied keys

    @property
    def folder(self) -> Path:
        """Where the run is."""
        return self.job.path

    @property
    def status(self) -> str:
        """done, running, interrupted, failed or missing."""
        return self.job.status

    @property
    def label(self) -> str:
        """``beta=5, style=wave``; the folder's name where nothing varies."""
        words = ", ".join(f"{key}={value}" for key, value in self.values.items())
        return words or self.folder.absolute().name

    @property
    def losses(self) -> dict[str, float]:
        """Of the saved picture: those of LOSSES that are known and finite."""
        found = numbers(self.job.record.get("losses"))
        return {name: found[name] for name in LOSSES if name in found}

    @property
    def metrics(self) -> dict[str, float]:
        """Whatever else was measured on the saved picture."""
        return numbers(self.job.record.get("metrics"))

    @property
    def error(self) -> str:
        """Why it failed; empty if it did not."""
        return str(self.job.record.get("error") or "") if self.status == "failed" else ""

    @property
    def picture(self) -> Path | None:
        """The result, of an interrupted run the last one; None before there is one."""
        if self.status not in ("done", "interrupted"):
            return None
        path = self.job.image
        return path if path is not None and path.is_file() else None

    @property
    def notes(self) -> list[str]:
        """Warnings, and what was put in the place of something else."""
        found = self.job.record.get("warnings")
        lines = [str(line) for line in found] if isinstance(found, list) else []
        for entry in self.job.substituted:
            asked = next((v for k, v in entry.items() if k not in ("by", "because")), "?")
            reason = f": {entry['because']}" if entry.get("because") else ""
            lines.append(f"{entry.get('by')} in place of {asked}{reason}")
        return lines

    @property
    def command(self) -> str:
        """What makes this run again elsewhere, or finishes it where it is."""
        words = [word for word in self.overrides if word.partition("=")[0] != "out"]
        if self.status != "done":
            words.append(f"out={self.folder}")
        return shlex.join(["python", "-m", "nst_exp", *words])

    def number_of(self, name: str) -> float | None:
        """An entry of the record, such as ``seconds``, if it is a finite number."""
        return numbers({name: self.job.record.get(name)}).get(name)


@dataclass(frozen=True)
class Report:
    """All jobs, in their order, with the keys that differ between them."""

    title: str
    varied: list[str]
    entries: list[Entry]

    @property
    def metrics(self) -> list[str]:
        """The names of all metrics, in the order in which they first come."""
        return list(dict.fromkeys(name for entry in self.entries for name in entry.metrics))


def read_report(folders: Sequence[Path]) -> Report:
    """The jobs of sweeps, of single runs and of folders that hold such.

    Where a sweep left its plan, jobs that have not started yet are there too, as ``missing``, and
    the keys that vary are the plan's; elsewhere they are found by comparing commands and settings.
    Raises ConfigError for a folder that is not there or holds no run.
    """
    entries: list[Entry] = []
    keys: list[str] = []
    unplanned = False
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such folder; give the folder of a run or of a sweep")
        found = _sources(folder, _DEPTH)
        if not found:
            raise ConfigError(f"{folder}: holds no run; give the folder of a run or of a sweep")
        for source in found:
            more, planned = _entries(source)
            entries += more
            unplanned |= not planned
            keys += [key for entry in more for key in entry.values]
    entries = list({entry.folder.absolute(): entry for entry in entries}.values())
    keys = list(dict.fromkeys(keys))
    if unplanned:
        keys += varied_keys([(entry.overrides, entry.job.config) for entry in entries], keys)
    entries = [_with_values(entry, keys) for entry in entries]
    if len({entry.source for entry in entries}) > 1:
        entries = [replace(entry, number=number) for number, entry in enumerate(entries)]
        if _doubled(entries):
            keys, entries = _told_apart(keys, entries)
    title = ", ".join(folder.absolute().name for folder in folders)
    return Report(title, keys, entries)


def numbers(values: Any) -> dict[str, float]:
    """Those entries of a record's section that are finite numbers."""
    if not isinstance(values, dict):
        return {}
    return {
        str(name): float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _sources(folder: Path, depth: int) -> list[Path]:
    """``folder``, if it is a sweep or holds runs, else those below it that are."""
    if (folder / PLAN).is_file() or find_run_folders(folder):
        return [folder]
    if depth == 0:
        return []
    below = sorted(path for path in folder.iterdir() if path.is_dir())
    return [source for path in below for source in _sources(path, depth - 1)]


def _entries(source: Path) -> tuple[list[Entry], bool]:
    """The jobs of a sweep or of a folder of runs; whether a plan says what varies."""
    if (source / PLAN).is_file():
        planned = [_planned(source, job) for job in read_plan(source).values()]
        if not planned:
            raise ConfigError(
                f"{source / PLAN}: is damaged or names no job; without that file the runs beside "
                "it can be reported by their settings"
            )
        return sorted(planned, key=lambda entry: entry.number), True
    folders = find_run_folders(source)
    prefixes = [re.match(r"\d+", folder.absolute().name) for folder in folders]
    own = [int(prefix[0]) for prefix in prefixes if prefix]
    # Of an older sweep: 000_beta=5. Dates are no numbers of jobs.
    numbered = len(set(own)) == len(folders) and max(own) < 10 * len(folders)
    return [
        Entry(
            own[index] if numbered else index,
            source,
            read_run_folder(folder),
            read_run_folder(folder).overrides,
        )
        for index, folder in enumerate(folders)
    ], False


def _planned(source: Path, job: SweepJob) -> Entry:
    folder = source / job.folder
    run = read_run_folder(folder)
    return Entry(job.number, source, run, run.overrides or job.overrides, job.values)


def _with_values(entry: Entry, keys: Iterable[str]) -> Entry:
    """The entry with a text for every key: as asked for, else as the run's settings have it."""
    asked = dict(word.lstrip("+").partition("=")[::2] for word in entry.overrides)
    settings = flat(entry.job.config)
    found = {}
    for key in keys:
        places: list[Any] = [entry.values.get(key), asked.get(key)]
        places += [settings.get(key), settings.get(f"{key}.name"), settings.get(f"{key}.kind")]
        found[key] = spoken(next((value for value in places if value is not None), ""))
    return replace(entry, values=found)


def _doubled(entries: Sequence[Entry]) -> bool:
    counts = Counter(tuple(entry.values.values()) for entry in entries)
    return max(counts.values()) > 1


def _told_apart(keys: list[str], entries: list[Entry]) -> tuple[list[str], list[Entry]]:
    """Jobs of several sweeps with the same values: the sweep becomes one more key."""
    sources = list(dict.fromkeys(entry.source for entry in entries))
    names = [source.absolute().name for source in sources]
    if len(set(names)) < len(names):
        names = [str(source) for source in sources]
    name_of = dict(zip(sources, names, strict=True))
    return [*keys, "sweep"], [
        replace(entry, values=entry.values | {"sweep": name_of[entry.source]}) for entry in entries
    ]
