"""A sweep: its jobs are checked, and given their folders, before the first one starts.

The plan is kept in ``sweep.json``: the same command in the same folder then finds its jobs again,
also if the grid has changed meanwhile, and a report knows which jobs there should be.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from nst_exp.app.complaints import complaint
from nst_exp.app.compose import to_config
from nst_exp.app.sweep.search import check_search, first_values
from nst_exp.config.schema import Config
from nst_exp.config.validate import check
from nst_exp.images.named import input_hashes
from nst_exp.results.record import check_compatible, fingerprint, read_record
from nst_exp.results.run_folder import read_overrides
from nst_exp.utils.atomic_files import write_text_atomically
from nst_exp.utils.errors import ConfigError, NstError, OutputError

PLAN = "sweep.json"
_LONGEST = 120  # characters of a folder's name


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep."""

    number: int  # of its folder; grows when a sweep is extended
    folder: str  # below that of the sweep
    overrides: list[str]
    values: dict[str, str]  # of the keys that vary


@dataclass(frozen=True)
class Sweep:
    """What one command starts: the jobs of its grid, in their order."""

    folder: Path
    jobs: list[SweepJob]

    @property
    def folders(self) -> list[Path]:
        """Of the jobs."""
        return [self.folder / job.folder for job in self.jobs]

    def done(self) -> int:
        """How many jobs are done already."""
        return sum(read_record(folder).get("status") == "done" for folder in self.folders)


def _loader() -> ConfigLoader:
    return GlobalHydra.instance().config_loader()


def _checked(config: DictConfig, overrides: list[str]) -> Config:
    """The config of a job of the sweep that ``config`` starts, checked."""
    job = _loader().load_sweep_config(config, overrides)
    with open_dict(job):
        del job["hydra"]
    typed = to_config(job)
    check(typed)
    return typed


def _parse(config: DictConfig) -> list[Override]:
    """The overrides of the command line, behind those of an experiment's own sweep."""
    params = config.hydra.sweeper.get("params") or {}
    texts = [f"{key}={value}" for key, value in params.items()]
    parser = OverridesParser.create(config_loader=_loader())
    return parser.parse_overrides([*texts, *config.hydra.overrides.task])


def values_of(overrides: Iterable[str], varied: Iterable[str]) -> dict[str, str]:
    """What a job's overrides say of the keys that vary."""
    keys = set(varied)
    pairs = (text.lstrip("+").partition("=") for text in overrides)
    return {key: value for key, _, value in pairs if key in keys}


def job_name(number: int, values: dict[str, str]) -> str:
    """``003_beta=100,style=wave``: a folder's name, safe on any system."""
    parts = [
        f"{key.split('.')[-1]}={Path(value).name if '/' in value else value}"
        for key, value in values.items()
    ]
    name = re.sub(r"[^\w=.,+-]+", "-", ",".join(parts))[:_LONGEST].rstrip(".")
    return f"{number:03d}_{name}" if name else f"{number:03d}"


def plan(config: DictConfig) -> Sweep | None:
    """Check every job of the sweep, give each its folder and write the plan.

    ``config`` is what Hydra's on_multirun_start is given. None for a sweeper that makes up its jobs
    as it goes. Raises ConfigError with the problems of all jobs, and OutputError if the plan cannot
    be written.
    """
    overrides = _parse(config)
    if not str(config.hydra.sweeper._target_).endswith(".BasicSweeper"):
        check_search(config.hydra.sweeper)
        _checked(config, first_values(overrides))
        _forget_launch(Path(config.hydra.sweep.dir))
        return None
    varied = list(
        dict.fromkeys(o.get_key_element().lstrip("+") for o in overrides if o.is_sweep_override())
    )
    grid = [list(job) for batch in BasicSweeper.split_arguments(overrides, None) for job in batch]
    folder = Path(config.hydra.sweep.dir)
    earlier = read_plan(folder)
    known: dict[str, list[str]] = {}  # fingerprint, or values, -> folders
    for name, old in earlier.items():
        known.setdefault(str(read_record(folder / name).get("fingerprint")), []).append(name)
        known.setdefault(_key(old.values), []).append(name)
    taken: set[str] = set()  # a grid may ask twice for the same, and jobs may run side by side
    next_number = max((job.number for job in earlier.values()), default=-1) + 1
    problems: dict[str, list[str]] = {}
    jobs: list[SweepJob] = []
    for job in grid:
        values = values_of(job, varied)
        words = ", ".join(f"{key}={value}" for key, value in values.items())
        try:
            typed = _checked(config, job)
            mark = ""
            with suppress(OSError):  # of a picture that is not here yet, or cannot be read
                mark = fingerprint(typed, input_hashes(typed))
            there = [*known.get(mark, []), *known.get(_key(values), [])]
            name = next((name for name in there if name not in taken), "")
            if not name:
                name = job_name(next_number, values)
                next_number += 1
            if mark and not _free(folder / name, mark, typed):
                raise ConfigError(
                    f"out={folder}: holds jobs that were made with other settings or images; give "
                    "another folder, or overwrite=true to replace them"
                )
        except NstError as error:
            for problem in getattr(error, "problems", [str(error)]):
                problems.setdefault(problem, []).append(words)
            continue
        except (HydraException, OmegaConfBaseException) as error:
            for problem in complaint(error, job):
                problems.setdefault(problem, []).append(words)
            continue
        taken.add(name)
        jobs.append(SweepJob(int(name.partition("_")[0]), name, job, values))
    if problems:
        raise ConfigError([_of_jobs(text, words, len(grid)) for text, words in problems.items()])
    sweep = Sweep(folder, jobs)
    _write(sweep, varied, earlier)
    return sweep


def _key(values: dict[str, str]) -> str:
    return json.dumps(values, sort_keys=True)


def _free(folder: Path, mark: str, config: Config) -> bool:
    """Whether the run can go on, or begin, in the folder."""
    try:
        check_compatible(folder, mark, config.image, config.overwrite)
    except ConfigError:
        return False
    return True


def _of_jobs(problem: str, jobs: list[str], count: int) -> str:
    """A problem, with the jobs that have it where not all do."""
    if len(jobs) == count:
        return problem
    shown = "; ".join(jobs[:3]) + (f"; and {len(jobs) - 3} more" if len(jobs) > 3 else "")
    return f"{problem}\n    in {len(jobs)} of {count} jobs: {shown}"


def read_plan(folder: Path) -> dict[str, SweepJob]:
    """Folder's name -> job, as an earlier command left them; empty if there is no readable plan."""
    try:
        content = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        jobs = [SweepJob(**job) for job in content["jobs"]]
        return {job.folder: job for job in jobs if _is_name(job.folder)}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}


def _is_name(folder: str) -> bool:
    """Whether it lies right below the sweep's own: another's plan may name any place."""
    return folder not in (".", "..") and Path(folder).name == folder


def _write(sweep: Sweep, varied: list[str], earlier: dict[str, SweepJob]) -> None:
    every = {**earlier, **{job.folder: job for job in sweep.jobs}}
    content = {
        "version": 1,
        "command": sys.argv[1:],
        "varied": varied,
        "launch": [job.folder for job in sweep.jobs],  # by Hydra's number of the job
        "jobs": [asdict(job) for job in sorted(every.values(), key=lambda job: job.number)],
    }
    try:
        sweep.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        write_text_atomically(sweep.folder / PLAN, text)
    except OSError as error:
        raise OutputError(f"out={sweep.folder}: cannot be written ({error.strerror})") from error


def _forget_launch(folder: Path) -> None:
    """The plan of an earlier grid says nothing about jobs that a search will make up."""
    if earlier := read_plan(folder):
        _write(Sweep(folder, []), [], earlier)


def note_jobs(folder: Path, jobs: Iterable[Path], varied: list[str]) -> None:
    """Write the plan after the event, for a search: every job that it has made up."""
    earlier = read_plan(folder)
    number = max((job.number for job in earlier.values()), default=-1) + 1
    for job in jobs:
        overrides = read_overrides(job)
        if overrides is not None and job.name not in earlier:
            values = values_of(overrides, varied)
            earlier[job.name] = SweepJob(number, job.name, overrides, values)
            number += 1
    if earlier:
        _write(Sweep(folder, []), varied, earlier)


def folder_of_job(sweep: str, number: Any, overrides: Sequence[str], varied: Iterable[str]) -> str:
    """The folder of Hydra's job ``number`` below that of the sweep: as planned, if it was."""
    try:
        content = json.loads((Path(sweep) / PLAN).read_text(encoding="utf-8"))
        planned = str(content["launch"][int(number)])
        if not _is_name(planned):
            raise ValueError(planned)
        return planned
    except (OSError, ValueError, TypeError, KeyError, IndexError, RecursionError):
        keys = list(varied)
        values = values_of(overrides, keys or [o.lstrip("+").partition("=")[0] for o in overrides])
        values = {key: _rounded(value) for key, value in values.items()}
        return job_name(int(number), values) if str(number).isdigit() else job_name(0, values)


def _rounded(value: str) -> str:
    """A number between two others that a search has come upon, short enough for a name."""
    return f"{float(value):.6g}" if re.fullmatch(r"-?\d+\.\d{6,}(e-?\d+)?", value) else value


def note_failure(folder: Path, config: Config | None, error: BaseException) -> None:
    """Leave a record of a job that failed, where the run has not done so itself.

    What a finished run has made is not touched.
    """
    from nst_exp.results.record import Record, write_record

    text = f"{type(error).__name__}: {error}"
    record = read_record(folder)
    noted = record.get("status") == "failed" and record.get("error") == text
    if noted and record.get("process", {}).get("pid") == os.getpid():
        return
    with suppress(Exception):  # what went wrong first matters more
        if not record and config is not None:
            mine = Record(folder, config)
            mine.values["error"] = text
            mine.save("failed")
        elif record.get("status") != "done" or not (folder / _picture(record)).is_file():
            record |= {
                "status": "failed",
                "error": text,
                "process": {"pid": os.getpid(), "host": platform.node()},
            }
            write_record(folder, record)


def _picture(record: dict[str, Any]) -> str:
    config = record.get("config")
    return str(config.get("image")) if isinstance(config, dict) else "image.png"
