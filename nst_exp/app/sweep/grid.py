"""Planning a sweep: validate its jobs and give them folders before the first one starts."""

import itertools
import json
import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import DictConfig

from nst_exp.app.compose import COMPOSITION_ERRORS, to_config
from nst_exp.app.console import display_path, log_start
from nst_exp.app.messages import describe_error
from nst_exp.app.overrides import keep_texts
from nst_exp.app.sweep.launchers import is_a
from nst_exp.app.sweep.search import prepare_search
from nst_exp.config.schema import Config
from nst_exp.images import input_hashes
from nst_exp.results.record import compute_fingerprint, read_record
from nst_exp.results.run_folder import check_compatible, describe_differences, is_done
from nst_exp.results.sweep_plan import (
    SweepJob,
    SweepPlan,
    job_name,
    next_number,
    read_plan,
    values_of,
    write_plan,
)
from nst_exp.runner.validate import validate, validate_here
from nst_exp.utils.errors import ConfigError, NstError
from nst_exp.utils.suggest import did_you_mean

log = logging.getLogger(__name__)


def plan_sweep(config: DictConfig) -> SweepPlan:
    """Validate every job of a sweep, give each its folder and write the plan.

    The plan of a sweeper that chooses its jobs as it goes, such as Optuna's, has none.

    Args:
        config: What Hydra hands to ``on_multirun_start``.

    Raises:
        ConfigError: With the problems of all jobs.
        OutputError: If the plan cannot be written.
    """
    folder, sweeper = Path(config.hydra.sweep.dir), config.hydra.sweeper
    for name in ("max_batch_size", "n_trials", "n_jobs"):
        if (count := sweeper.get(name)) is not None and count < 1:
            raise ConfigError(f"hydra.sweeper.{name}={count}: must be at least 1")
    params = sweeper.get("params") or {}  # an experiment's own sweep, before that of the command
    texts = keep_texts([f"{key}={value}" for key, value in params.items()])
    for text in texts:
        params[text.partition("=")[0]] = text.partition("=")[2]
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    overrides = parser.parse_overrides([*texts, *config.hydra.overrides.task])
    keys = [o.get_key_element().lstrip("+") for o in overrides if o.is_sweep_override()]
    varied = list(dict.fromkeys(keys))
    folders = _Folders(folder)
    grid: list[list[str]] = []
    if is_a(sweeper, "BasicSweeper"):
        grid = _grid(overrides, list(config.pair))
        if config.pair:
            sweeper._target_ = "hydra_plugins.nst_exp_sweeper.PlannedJobs"
    else:
        if config.pair:
            raise ConfigError(f"{_pair(config.pair)}: only in a grid; leave out hydra/sweeper")
        prepare_search(sweeper, overrides)
        first = _typed(config, [choices[0] for choices in _choices(overrides).values()])
        log.info(f"a search of {sweeper.get('n_trials')} jobs: {display_path(folder)}")
        log_start(first, varied)
    here = not is_a(config.hydra.launcher, "SlurmLauncher")  # a node may have other memory
    problems: dict[str, list[str]] = {}
    jobs: list[SweepJob] = []
    done = 0
    for job in grid:
        values = values_of(job, varied)
        try:
            typed = _typed(config, job)
            if job is grid[0]:
                log.info(f"{len(grid)} jobs: {display_path(folder)}")
                log_start(typed, varied)
            name = folders.choose(typed, values)
            if is_done(read_record(folder / name), typed):
                done += 1
            elif here:
                validate_here(typed)
            jobs.append(SweepJob(int(name.partition("_")[0]), name, job, values))
        except NstError as error:
            for problem in getattr(error, "problems", [str(error)]):
                problems.setdefault(problem, []).append(format_values(values))
    if problems:
        raise ConfigError([_with_jobs(text, jobs, len(grid)) for text, jobs in problems.items()])
    plan = SweepPlan(folder, jobs, varied, sys.argv[1:], done)
    write_plan(plan)
    return plan


def format_values(values: dict[str, str]) -> str:
    """Format the values of a job, such as ``beta=5, style=wave``."""
    return ", ".join(f"{key}={value}" for key, value in values.items())


def _grid(overrides: Sequence[Override], pair: Sequence[str]) -> list[list[str]]:
    """Return the overrides of each job: all combinations, as of Hydra's own sweeper.

    The keys in ``pair`` vary together: a job has their values at the same place.
    """
    intervals = [o.input_line for o in overrides if isinstance(o.value(), IntervalSweep)]
    if intervals:
        raise ConfigError(
            f"{intervals[0]}: a grid needs single values; list them, or add hydra/sweeper=optuna"
        )
    choices = _choices(overrides)
    keys = [next((k for k in choices if k.lstrip("+") == name), name) for name in pair]
    for key in keys:
        if len(choices.get(key, [])) < 2:
            near = did_you_mean(key, [k for k, values in choices.items() if len(values) > 1])
            action = near or f"; list them, {key}=A,B"
            raise ConfigError(f"{_pair(pair)}: {key} has fewer than two values{action}")
    if len({len(choices[key]) for key in keys}) > 1:
        counts = ", ".join(f"{key} has {len(choices[key])} values" for key in keys)
        raise ConfigError(f"{_pair(pair)}: {counts}; give each key the same number")
    axes: dict[str, list[Sequence[str]]] = {}
    for key, values in choices.items():
        if key not in keys:
            axes[key] = [[value] for value in values]
        elif keys[0] not in axes:
            axes[keys[0]] = list(zip(*(choices[one] for one in keys), strict=True))
    return [list(itertools.chain(*parts)) for parts in itertools.product(*axes.values())]


def _pair(keys: Sequence[str]) -> str:
    return f"pair={','.join(keys)}"


def _choices(overrides: Sequence[Override]) -> dict[str, list[str]]:
    """Return for each key the overrides that jobs choose from; of an interval, its start."""
    found: dict[str, list[str]] = {}
    for override in overrides:
        key, value = override.get_key_element(), override.value()
        if isinstance(value, IntervalSweep):
            values = [str(value.start)]
        elif override.is_sweep_override():
            values = list(override.sweep_string_iterator())
        else:
            values = [override.get_value_element_as_str()]
        if not values:
            raise ConfigError(f"{override.input_line}: has no values; list them, {key}=A,B,C")
        found[key] = [f"{key}={one}" for one in values]
    found.pop("pair", None)
    return found


def _typed(config: DictConfig, overrides: list[str]) -> Config:
    """Compose and validate the config of one job."""
    try:
        loader = GlobalHydra.instance().config_loader()
        job = loader.load_sweep_config(config, overrides)
    except COMPOSITION_ERRORS as error:
        raise ConfigError(describe_error(error)) from error
    typed = to_config(job)
    validate(typed)
    return typed


class _Folders:
    """The folders of a sweep: jobs of earlier commands keep theirs."""

    def __init__(self, folder: Path) -> None:
        self.folder, earlier = folder, read_plan(folder)
        self.number = next_number(earlier)
        self.taken: set[str] = set()  # a grid may contain the same job twice
        self.known: dict[str, list[str]] = {}  # fingerprint, or values, -> folders
        for name, job in earlier.items():
            fingerprint = str(read_record(folder / name).get("fingerprint"))
            for key in (fingerprint, _key(job.values)):
                self.known.setdefault(key, []).append(name)

    def choose(self, config: Config, values: dict[str, str]) -> str:
        """Return the name of the job's folder, which holds nothing or the same job."""
        hashes, fingerprint = None, ""
        with suppress(OSError):  # an image that is not there yet, or cannot be read
            hashes = input_hashes(config)
            fingerprint = compute_fingerprint(config, hashes)
        same = [*self.known.get(fingerprint, []), *self.known.get(_key(values), [])]
        name = next((name for name in same if name not in self.taken), "")
        if not name:
            name = job_name(self.number, values)
            self.number += 1
        try:
            if hashes is not None:
                check_compatible(self.folder / name, config, hashes)
        except ConfigError as error:
            record = read_record(self.folder / name)
            made = describe_differences(record, config, hashes or ()) if record else "no record"
            raise ConfigError(
                f"out={self.folder}: holds jobs made with {made}; give another out=DIR, or "
                "overwrite=true to replace them"
            ) from error
        self.taken.add(name)
        return name


def _key(values: dict[str, str]) -> str:
    return json.dumps(values, sort_keys=True)


def _with_jobs(problem: str, jobs: list[str], count: int) -> str:
    """Add to a problem the jobs that have it, if not all do."""
    if len(jobs) == count:
        return problem
    shown = "; ".join(jobs[:3]) + (f"; and {len(jobs) - 3} more" if len(jobs) > 3 else "")
    return f"{problem}\n    in {len(jobs)} of {count} jobs: {shown}"
