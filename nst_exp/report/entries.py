"""The content of a report: the jobs of one or several sweeps, and which keys vary."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nst_exp.config.serialize import flat
from nst_exp.report.settings import names_of_files, normalize, value_of, varied_keys
from nst_exp.results.losses_csv import LOSSES
from nst_exp.results.run_folder import RunFolder, find_run_folders, read_run_folder
from nst_exp.results.sweep_plan import SweepJob, read_plan, split_overrides
from nst_exp.utils.errors import ConfigError

MEASURED = ("step", "seconds", "evaluations", "width", "height")
_DEPTH = 2  # levels of folders above sweeps: outputs/sweep/DATE


@dataclass
class ReportRow:
    """One job: a line of the table, a cell of the contact sheet. Numbers are known and finite."""

    number: int
    source: Path  # folder of its sweep, or of single runs
    run: RunFolder
    overrides: list[str]
    values: dict[str, str]  # of the report's varied keys
    losses: dict[str, float]  # of the saved image, by LOSSES
    metrics: dict[str, float]
    measured: dict[str, float]  # by MEASURED
    error: str  # of a failed job
    notes: list[str]  # warnings
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
    taken from the plans and from a comparison of overrides and configs.

    Raises:
        ConfigError: If a folder does not exist or holds no run.
    """
    found: dict[Path, ReportRow] = {}
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such folder; give the folder of a run or of a sweep")
        own = _read_rows(folder, _DEPTH)
        if not own:
            raise ConfigError(f"{folder}: holds no run; give the folder of a run or of a sweep")
        found |= {row.run.path.absolute(): row for row in own}
    rows = list(found.values())
    planned = dict.fromkeys(key for row in rows for key in row.values)
    keys = varied_keys([(row.overrides, row.run.config) for row in rows], planned)
    configs = [flat(row.run.config) for row in rows]
    numeric = {key for c in configs for key, value in c.items() if isinstance(value, int | float)}
    for row in rows:
        given, config = split_overrides(row.overrides), flat(row.run.config)
        values = {key: row.values.get(key, value_of(key, given, config)) for key in keys}
        row.values = {k: normalize(v) if k in numeric else v for k, v in values.items()}
    for key in keys:
        names = names_of_files(row.values[key] for row in rows)
        for row in rows:
            row.values[key] = names[row.values[key]]
    if len({row.source for row in rows}) > 1:
        ambiguous = len({tuple(row.values.values()) for row in rows}) < len(rows)
        keys += ["sweep"] if ambiguous else []
        for number, row in enumerate(rows):
            row.number = number
            row.values |= {"sweep": row.source.absolute().name} if ambiguous else {}
    return Report(", ".join(folder.absolute().name for folder in folders), keys, rows)


def _read_rows(folder: Path, depth: int) -> list[ReportRow]:
    """Read the sweep or the runs in a folder, else those in the folders below it."""
    jobs = sorted(read_plan(folder).values(), key=lambda job: job.number) or [
        SweepJob(number, str(path.relative_to(folder)), [], {})
        for number, path in enumerate(find_run_folders(folder))
    ]
    if jobs or depth == 0:
        return [_read_row(folder, job) for job in jobs]
    below = sorted(path for path in folder.iterdir() if path.is_dir())
    return [row for path in below for row in _read_rows(path, depth - 1)]


def _read_row(source: Path, job: SweepJob) -> ReportRow:
    run = read_run_folder(source / job.folder)
    overrides = run.overrides or job.overrides
    losses = _finite(run.record.get("losses", {}))
    words = [override for override in overrides if override.partition("=")[0] != "out"]
    words += [] if run.status == "done" else [f"out={run.path}"]
    return ReportRow(
        number=job.number,
        source=source,
        run=run,
        overrides=overrides,
        values=job.values,
        losses={name: losses[name] for name in LOSSES if name in losses},
        metrics=_finite(run.record.get("metrics", {})),
        measured=_finite({name: run.record.get(name) for name in MEASURED}),
        error=run.record.get("error", ""),
        notes=run.record.get("warnings", []),
        image=run.image if run.status in ("done", "interrupted") else None,
        command=shlex.join(["python", "-m", "nst_exp", *words]),
    )


def _finite(values: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value or 0)}
