"""The content of a report: the jobs of one or several sweeps, and which keys vary."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nst_exp.config.serialize import flat
from nst_exp.report.settings import split_overrides, value_of, varied_keys
from nst_exp.results.losses_csv import LOSSES
from nst_exp.results.run_folder import RunFolder, find_run_folders, read_run_folder
from nst_exp.results.sweep_plan import PLAN, read_plan
from nst_exp.utils.errors import ConfigError

_DEPTH = 2  # levels of folders above sweeps: outputs/sweep/DATE


@dataclass(frozen=True)
class ReportRow:
    """One job: a line of the table, a cell of the contact sheet."""

    number: int
    source: Path  # folder of its sweep, or of single runs
    run: RunFolder
    overrides: list[str]
    values: dict[str, str] = field(default_factory=dict)  # of the report's varied keys

    @property
    def status(self) -> str:
        """One of done, running, interrupted, failed, missing."""
        return self.run.status

    @property
    def label(self) -> str:
        """Varied values such as ``beta=5, style=wave``, else the folder's name."""
        pairs = ", ".join(f"{key}={value}" for key, value in self.values.items())
        return pairs or self.run.path.absolute().name

    @property
    def losses(self) -> dict[str, float]:
        """Losses of the saved image: those of LOSSES that are known and finite."""
        found = numbers(self.run.record.get("losses"))
        return {name: found[name] for name in LOSSES if name in found}

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics of the saved image."""
        return numbers(self.run.record.get("metrics"))

    @property
    def error(self) -> str:
        """Error of a failed job."""
        return str(self.run.record.get("error") or "") if self.status == "failed" else ""

    @property
    def image(self) -> Path | None:
        """Path of the result, or of the last image of an interrupted run."""
        path = self.run.image if self.status in ("done", "interrupted") else None
        return path if path is not None and path.is_file() else None

    @property
    def notes(self) -> list[str]:
        """Warnings and substitutions."""
        found = self.run.record.get("warnings")
        lines = [str(line) for line in found] if isinstance(found, list) else []
        return lines + [": ".join(filter(None, parts)) for parts in self.run.substitutions]

    @property
    def command(self) -> str:
        """Command that repeats a finished run elsewhere, or finishes another one in its folder."""
        words = [word for word in self.overrides if word.partition("=")[0] != "out"]
        if self.status != "done":
            words.append(f"out={self.run.path}")
        return shlex.join(["python", "-m", "nst_exp", *words])

    def number_of(self, name: str) -> float | None:
        """Return an entry of the record, such as ``seconds``, if it is a finite number."""
        return numbers({name: self.run.record.get(name)}).get(name)


@dataclass(frozen=True)
class Report:
    """All jobs in order, and the keys that differ between them."""

    title: str
    varied: list[str]
    rows: list[ReportRow]

    @property
    def metrics(self) -> list[str]:
        """Names of all metrics, in order of appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row.metrics))


def read_report(folders: Sequence[Path]) -> Report:
    """Read sweeps, single runs, and folders that hold them.

    Jobs of a sweep's plan that have not started yet are included as ``missing``. Which keys vary is
    taken from the plan; without one, overrides and configs are compared.

    Raises:
        ConfigError: If a folder does not exist or holds no run.
    """
    rows: list[ReportRow] = []
    unplanned = False
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such folder; give the folder of a run or of a sweep")
        found = _sources(folder, _DEPTH)
        if not found:
            raise ConfigError(f"{folder}: holds no run; give the folder of a run or of a sweep")
        for source in found:
            planned = (source / PLAN).is_file()
            unplanned |= not planned
            rows += _planned_rows(source) if planned else _unplanned_rows(source)
    rows = list({row.run.path.absolute(): row for row in rows}.values())
    keys = list(dict.fromkeys(key for row in rows for key in row.values))
    if unplanned:
        compared = varied_keys([(row.overrides, row.run.config) for row in rows])
        keys = list(dict.fromkeys([*keys, *compared]))
    rows = [_with_values(row, keys) for row in rows]
    if len({row.source for row in rows}) > 1:
        rows = [replace(row, number=number) for number, row in enumerate(rows)]
        if max(Counter(tuple(row.values.values()) for row in rows).values()) > 1:
            keys, rows = [*keys, "sweep"], _disambiguate(rows)
    title = ", ".join(folder.absolute().name for folder in folders)
    return Report(title, keys, rows)


def numbers(values: Any) -> dict[str, float]:
    """Return the entries of a record's section that are finite numbers."""
    if not isinstance(values, dict):
        return {}
    return {
        str(name): float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _sources(folder: Path, depth: int) -> list[Path]:
    """Return ``folder`` if it is a sweep or holds runs, else the folders below it that are."""
    if (folder / PLAN).is_file() or find_run_folders(folder):
        return [folder]
    if depth == 0:
        return []
    below = sorted(path for path in folder.iterdir() if path.is_dir())
    return [source for path in below for source in _sources(path, depth - 1)]


def _planned_rows(source: Path) -> list[ReportRow]:
    rows = []
    for job in read_plan(source).values():
        run = read_run_folder(source / job.folder)
        rows.append(ReportRow(job.number, source, run, run.overrides or job.overrides, job.values))
    if not rows:
        raise ConfigError(
            f"{source / PLAN}: is damaged or names no job; without that file the runs beside it "
            "can be reported by their settings"
        )
    return sorted(rows, key=lambda row: row.number)


def _unplanned_rows(source: Path) -> list[ReportRow]:
    runs = map(read_run_folder, find_run_folders(source))
    return [ReportRow(number, source, run, run.overrides) for number, run in enumerate(runs)]


def _with_values(row: ReportRow, keys: Iterable[str]) -> ReportRow:
    """Return the row with a text for every key: the planned one, else what the run has."""
    given, config = split_overrides(row.overrides), flat(row.run.config)
    return replace(
        row, values={key: row.values.get(key, value_of(key, given, config)) for key in keys}
    )


def _disambiguate(rows: Sequence[ReportRow]) -> list[ReportRow]:
    """Add the sweep as one more key, for jobs of several sweeps with the same values."""
    sources = {row.source for row in rows}
    short = len({source.absolute().name for source in sources}) == len(sources)
    return [
        replace(row, values=row.values | {"sweep": row.source.name if short else str(row.source)})
        for row in rows
    ]
