"""The plan of a sweep, ``sweep.json``: its jobs, their folders and their overrides.

The same command in the same folder finds its jobs again in the plan, also if the grid has changed
meanwhile, and a report knows which jobs there should be.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nst_exp.results.record import read_json, write_json
from nst_exp.results.run_folder import find_run_folders, read_run_folder

PLAN = "sweep.json"
_MAX_NAME = 120  # characters of a folder's name


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
    done: int = 0  # jobs that earlier commands have finished

    @property
    def folders(self) -> list[Path]:
        """The folders of the jobs."""
        return [self.folder / job.folder for job in self.jobs]


def read_plan(folder: Path) -> dict[str, SweepJob]:
    """Read the jobs that commands have planned in a folder, by the names of their folders."""
    try:
        jobs = [SweepJob(**job) for job in read_json(folder / PLAN).get("jobs", [])]
    except TypeError:  # a file of another program
        return {}
    # A plan may come from somebody else and must not name any other place.
    names = {job.folder for job in jobs if Path(job.folder).name == job.folder} - {"", ".."}
    return {job.folder: job for job in jobs if job.folder in names}


def launched_overrides(folder: Path) -> list[list[str]]:
    """Return the overrides of the jobs of the latest command, in Hydra's order."""
    jobs = read_plan(folder)
    return [jobs[name].overrides for name in read_json(folder / PLAN)["launch"]]


def write_plan(plan: SweepPlan) -> None:
    """Write the plan of a sweep; the jobs of earlier commands in its folder stay in it."""
    every = {**read_plan(plan.folder), **{job.folder: job for job in plan.jobs}}
    content = {
        "version": 1,
        "command": plan.command,
        "varied": plan.varied,
        "launch": [job.folder for job in plan.jobs],  # by Hydra's number of the job
        "jobs": [asdict(job) for job in sorted(every.values(), key=lambda job: job.number)],
    }
    write_json(plan.folder / PLAN, content)


def add_finished_jobs(folder: Path) -> None:
    """Add to the plan every run in ``folder`` that it does not have yet: the jobs of a search."""
    content, known = read_json(folder / PLAN), read_plan(folder)
    jobs: list[SweepJob] = []
    for run in map(read_run_folder, find_run_folders(folder)):
        if run.overrides and run.path.name not in known:
            number = next_number(known) + len(jobs)
            values = values_of(run.overrides, content["varied"])
            jobs.append(SweepJob(number, run.path.name, run.overrides, values))
    if jobs:
        write_plan(SweepPlan(folder, jobs, content["varied"], content["command"]))


def next_number(jobs: Mapping[str, SweepJob]) -> int:
    """Return the number after the highest one of ``jobs``."""
    return max((job.number for job in jobs.values()), default=-1) + 1


def split_overrides(overrides: Iterable[str]) -> dict[str, str]:
    """Return the values of overrides by their keys, without quotation marks."""
    given = dict(override.lstrip("+~").partition("=")[::2] for override in overrides)
    return {key: _unquote(value) for key, value in given.items()}


def _unquote(value: str) -> str:
    r"""Undo the quoting of Hydra: \ is doubled before a quotation mark and at the end."""
    mark = value[:1]
    if len(value) < 2 or mark not in ("'", '"') or not value.endswith(mark):
        return value
    pairs = rf"(\\+)({mark}|$)"
    return re.sub(pairs, lambda found: found[1][: len(found[1]) // 2] + found[2], value[1:-1])


def values_of(overrides: Iterable[str], varied: Iterable[str]) -> dict[str, str]:
    """Return the values that a job's overrides give to the keys that vary."""
    given = split_overrides(overrides)
    return {key: given[key] for key in varied if key in given}


def job_name(number: int, values: Mapping[str, str]) -> str:
    """Return a folder's name such as ``003_beta=100,style=wave``, allowed on any system."""
    parts = [f"{key.split('.')[-1]}={_shorten(value)}" for key, value in values.items()]
    name = re.sub(r"[^\w=.,+-]+", "-", ",".join(parts))[:_MAX_NAME].rstrip(".")
    return f"{number:03d}_{name}" if name else f"{number:03d}"


def folder_of_job(sweep: Path, number: int, overrides: Sequence[str]) -> str:
    """Return the name of the folder of Hydra's job ``number``.

    It is the planned one; for a job of a search, a name made from the values that vary.
    """
    plan = read_json(sweep / PLAN)
    planned: list[str] = plan.get("launch", [])
    if number < len(planned):
        return planned[number]
    return job_name(number, values_of(overrides, plan.get("varied") or split_overrides(overrides)))


def _shorten(value: str) -> str:
    """Shorten a path to its name, and a number that a search has drawn from an interval."""
    if re.fullmatch(r"-?\d+\.\d{6,}(e-?\d+)?", value):
        return f"{float(value):.6g}"
    return Path(value).name if "/" in value else value
