"""The plan of a sweep, ``sweep.json``: its jobs, their folders and their overrides.

The same command in the same folder finds its jobs again in the plan, also if the grid has changed
meanwhile, and a report knows which jobs there should be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nst_exp.results.run_folder import find_run_folders, read_run_folder
from nst_exp.utils.atomic_files import write_text_atomically
from nst_exp.utils.errors import OutputError

PLAN = "sweep.json"
_MAX_NAME = 120  # characters of a folder's name
_DAMAGED = (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError)


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep."""

    number: int  # of its folder; grows when a sweep is extended
    folder: str  # name of its folder, directly below the sweep's
    overrides: list[str]
    values: dict[str, str]  # of the keys that vary


@dataclass(frozen=True)
class SweepPlan:
    """The jobs that one command starts, in Hydra's order."""

    folder: Path
    jobs: list[SweepJob]
    varied: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)  # arguments, for the reader's information

    @property
    def folders(self) -> list[Path]:
        """The folders of the jobs."""
        return [self.folder / job.folder for job in self.jobs]

    def count_done(self) -> int:
        """Count the jobs that are done already."""
        return sum(read_run_folder(folder).status == "done" for folder in self.folders)


def read_plan(folder: Path) -> dict[str, SweepJob]:
    """Read the jobs that commands have planned in a folder, by the names of their folders.

    Without a readable plan there are none.
    """
    try:
        jobs = [_read_job(job) for job in _read(folder)["jobs"]]
    except _DAMAGED:
        return {}
    return {job.folder: job for job in jobs if _is_name(job.folder)}


def write_plan(plan: SweepPlan) -> None:
    """Write the plan of a sweep; the jobs of earlier commands in its folder stay in it.

    Raises:
        OutputError: If the plan cannot be written.
    """
    every = {**read_plan(plan.folder), **{job.folder: job for job in plan.jobs}}
    content = {
        "version": 1,
        "command": plan.command,
        "varied": plan.varied,
        "launch": [job.folder for job in plan.jobs],  # by Hydra's number of the job
        "jobs": [asdict(job) for job in sorted(every.values(), key=lambda job: job.number)],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
        write_text_atomically(plan.folder / PLAN, text)
    except OSError as error:
        raise OutputError(f"out={plan.folder}: cannot be written ({error.strerror})") from error


def add_finished_jobs(folder: Path, varied: Sequence[str]) -> None:
    """Add to the plan every run in ``folder`` that it does not have yet: the jobs of a search."""
    known, jobs = read_plan(folder), list[SweepJob]()
    for run in map(read_run_folder, find_run_folders(folder)):
        if run.overrides and run.path.name not in known:
            number, values = next_number(known) + len(jobs), values_of(run.overrides, varied)
            jobs.append(SweepJob(number, run.path.name, run.overrides, values))
    write_plan(SweepPlan(folder, jobs, list(varied)))


def next_number(jobs: Mapping[str, SweepJob]) -> int:
    """Return the number after the highest one of ``jobs``."""
    return max((job.number for job in jobs.values()), default=-1) + 1


def values_of(overrides: Iterable[str], varied: Iterable[str]) -> dict[str, str]:
    """Return the values that a job's overrides give to the keys that vary."""
    keys = set(varied)
    pairs = (text.lstrip("+").partition("=") for text in overrides)
    return {key: value for key, _, value in pairs if key in keys}


def job_name(number: int, values: Mapping[str, str]) -> str:
    """Return a folder's name such as ``003_beta=100,style=wave``, allowed on any system."""
    parts = [
        f"{key.split('.')[-1]}={Path(value).name if '/' in value else value}"
        for key, value in values.items()
    ]
    name = re.sub(r"[^\w=.,+-]+", "-", ",".join(parts))[:_MAX_NAME].rstrip(".")
    return f"{number:03d}_{name}" if name else f"{number:03d}"


def folder_of_job(sweep: Path, number: int, overrides: Sequence[str]) -> str:
    """Return the name of the folder of Hydra's job ``number``.

    It is the planned one; for a job of a search, a name made from the values that vary.
    """
    keys: list[str] = []
    try:
        content = _read(sweep)
        keys = [str(key) for key in content["varied"]]
        planned = str(content["launch"][number])
        if _is_name(planned):
            return planned
    except _DAMAGED:
        pass
    keys = keys or [text.lstrip("+").partition("=")[0] for text in overrides]
    values = values_of(overrides, keys)
    return job_name(number, {key: _rounded(value) for key, value in values.items()})


def _read(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    return content


def _read_job(job: dict[str, Any]) -> SweepJob:
    values = {str(key): str(value) for key, value in job["values"].items()}
    overrides = [str(override) for override in job["overrides"]]
    return SweepJob(int(job["number"]), str(job["folder"]), overrides, values)


def _is_name(folder: str) -> bool:
    # A plan may come from somebody else and must not name any other place.
    return folder not in ("", ".", "..") and Path(folder).name == folder


def _rounded(value: str) -> str:
    """Shorten a number that a search has drawn from an interval."""
    return f"{float(value):.6g}" if re.fullmatch(r"-?\d+\.\d{6,}(e-?\d+)?", value) else value
