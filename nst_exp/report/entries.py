"""The content of a report: the jobs of one or several sweeps, and which keys vary."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nst_exp.config.serialize import flat
from nst_exp.report.settings import normalize, split_overrides, value_of, varied_keys
from nst_exp.results.losses_csv import LOSSES
from nst_exp.results.run_folder import RunFolder, find_run_folders, read_run_folder
from nst_exp.results.sweep_plan import PLAN, SweepJob, read_plan
from nst_exp.utils.errors import ConfigError

MEASURED = ("seconds", "evaluations", "width", "height")
_DEPTH = 2  # levels of folders above sweeps: outputs/sweep/DATE


@dataclass(frozen=True)
class ReportRow:
    """One job: a line of the table, a cell of the contact sheet. Numbers are known and finite."""

    number: int
    source: Path  # folder of its sweep, or of single runs
    run: RunFolder
    overrides: list[str]
    values: dict[str, str]  # of the report's varied keys
    losses: dict[str, float]  # of the saved image, by LOSSES
    metrics: dict[str, float]
    measured: dict[str, float]  # seconds, evaluations, width, height
    error: str  # of a failed job
    notes: list[str]  # warnings and substitutions
    image: Path | None  # of the result, or the last one of an interrupted run
    command: str  # repeats a finished run elsewhere, or finishes another one in its folder

    @property
    def label(self) -> str:
        """Varied values such as ``beta=5, style=wave``, else the folder's name."""
        pairs = ", ".join(f"{key}={value}" for key, value in self.values.items())
        return pairs or self.run.path.absolute().name


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


def _row(number: int, source: Path, run: RunFolder, planned: SweepJob | None = None) -> ReportRow:
    record, done = run.record, run.status == "done"
    overrides = run.overrides or (planned.overrides if planned else [])
    losses = _numbers(record.get("losses"))
    warnings = record.get("warnings")
    notes = [str(line) for line in warnings] if isinstance(warnings, list) else []
    words = [override for override in overrides if override.partition("=")[0] != "out"]
    words += [] if done else [f"out={run.path}"]
    image = run.image if done or run.status == "interrupted" else None
    return ReportRow(
        number=number,
        source=source,
        run=run,
        overrides=overrides,
        values=planned.values if planned else {},
        losses={name: losses[name] for name in LOSSES if name in losses},
        metrics=_numbers(record.get("metrics")),
        measured=_numbers({name: record.get(name) for name in MEASURED}),
        error=str(record.get("error") or "") if run.status == "failed" else "",
        notes=notes + [": ".join(filter(None, parts)) for parts in run.substitutions],
        image=image if image is not None and image.is_file() else None,
        command=shlex.join(["python", "-m", "nst_exp", *words]),
    )


def _numbers(values: Any) -> dict[str, float]:
    """Return the entries of a record's section that are finite numbers."""
    return {
        str(name): float(value)
        for name, value in (values.items() if isinstance(values, dict) else ())
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
    jobs = sorted(read_plan(source).values(), key=lambda job: job.number)
    if not jobs:
        raise ConfigError(
            f"{source / PLAN}: is damaged or names no job; without that file the runs beside it "
            "can be reported by their settings"
        )
    return [_row(job.number, source, read_run_folder(source / job.folder), job) for job in jobs]


def _unplanned_rows(source: Path) -> list[ReportRow]:
    runs = map(read_run_folder, find_run_folders(source))
    return [_row(number, source, run) for number, run in enumerate(runs)]


def _with_values(row: ReportRow, keys: Iterable[str]) -> ReportRow:
    """Return the row with a text for every key: the planned one, else what the run has."""
    given, config = split_overrides(row.overrides), flat(row.run.config)
    found = {key: row.values.get(key, value_of(key, given, config)) for key in keys}
    return replace(row, values={key: normalize(value) for key, value in found.items()})


def _disambiguate(rows: Sequence[ReportRow]) -> list[ReportRow]:
    """Add the sweep as one more key, for jobs of several sweeps with the same values."""
    sources = {row.source for row in rows}
    short = len({source.absolute().name for source in sources}) == len(sources)
    return [
        replace(
            row,
            values=row.values | {"sweep": row.source.absolute().name if short else str(row.source)},
        )
        for row in rows
    ]
