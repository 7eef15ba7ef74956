"""Planning a sweep: check its jobs and give them folders before the first one starts."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

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
from nst_exp.images import input_hashes
from nst_exp.results.record import check_compatible, compute_fingerprint, read_record
from nst_exp.results.sweep_plan import (
    SweepJob,
    SweepPlan,
    job_name,
    next_number,
    read_plan,
    start_search,
    values_of,
    write_plan,
)
from nst_exp.runner.validate import validate
from nst_exp.utils.errors import ConfigError, NstError


def _loader() -> ConfigLoader:
    return GlobalHydra.instance().config_loader()


def _checked(config: DictConfig, overrides: list[str]) -> Config:
    """The config of a job of the sweep that ``config`` starts, checked."""
    job = _loader().load_sweep_config(config, overrides)
    with open_dict(job):
        del job["hydra"]
    typed = to_config(job)
    validate(typed)
    return typed


def _parse(config: DictConfig) -> list[Override]:
    """The overrides of the command line, behind those of an experiment's own sweep."""
    params = config.hydra.sweeper.get("params") or {}
    texts = [f"{key}={value}" for key, value in params.items()]
    parser = OverridesParser.create(config_loader=_loader())
    return parser.parse_overrides([*texts, *config.hydra.overrides.task])


def plan(config: DictConfig) -> SweepPlan | None:
    """Check every job of the sweep, give each its folder and write the plan.

    ``config`` is what Hydra's on_multirun_start is given. None for a sweeper that makes up its jobs
    as it goes. Raises ConfigError with the problems of all jobs, and OutputError if the plan cannot
    be written.
    """
    overrides = _parse(config)
    if not str(config.hydra.sweeper._target_).endswith(".BasicSweeper"):
        check_search(config.hydra.sweeper)
        _checked(config, first_values(overrides))
        start_search(Path(config.hydra.sweep.dir))
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
    number = next_number(earlier)
    problems: dict[str, list[str]] = {}
    jobs: list[SweepJob] = []
    for job in grid:
        values = values_of(job, varied)
        words = ", ".join(f"{key}={value}" for key, value in values.items())
        try:
            typed = _checked(config, job)
            mark = ""
            with suppress(OSError):  # of a picture that is not here yet, or cannot be read
                mark = compute_fingerprint(typed, input_hashes(typed))
            there = [*known.get(mark, []), *known.get(_key(values), [])]
            name = next((name for name in there if name not in taken), "")
            if not name:
                name = job_name(number, values)
                number += 1
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
    sweep = SweepPlan(folder, jobs, varied, sys.argv[1:])
    write_plan(sweep, earlier)
    return sweep


def _key(values: dict[str, str]) -> str:
    return json.dumps(values, sort_keys=True)


def _free(folder: Path, mark: str, config: Config) -> bool:
    """Whether the run can go on, or begin, in the folder."""
    try:
        check_compatible(folder, mark, config.overwrite)
    except ConfigError:
        return False
    return True


def _of_jobs(problem: str, jobs: list[str], count: int) -> str:
    """A problem, with the jobs that have it where not all do."""
    if len(jobs) == count:
        return problem
    shown = "; ".join(jobs[:3]) + (f"; and {len(jobs) - 3} more" if len(jobs) > 3 else "")
    return f"{problem}\n    in {len(jobs)} of {count} jobs: {shown}"
