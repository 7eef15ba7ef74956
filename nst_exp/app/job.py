"""One job: what Hydra calls with a composed config, here or in the process of a launcher."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from nst_exp.app.compose import to_config
from nst_exp.app.console import fail, logged_lines, show, show_error, shown
from nst_exp.app.sweep import launchers as launch
from nst_exp.app.sweep import resolvers
from nst_exp.app.sweep.search import is_optuna, objectives
from nst_exp.app.sweep.worker import Worker, as_worker, leave_no_trace
from nst_exp.config.schema import Config
from nst_exp.report.figure import NAME, write_figures
from nst_exp.results.lock import FolderLocked
from nst_exp.results.record import record_failure
from nst_exp.runner.validate import validate
from nst_exp.utils.errors import Interrupted, NstError, OutputError

__all__ = ["do_job", "resolvers", "write_figures_of"]

log = logging.getLogger("nst_exp")

# Seconds that a job waits for its folder: one of an earlier launch may be about to leave it.
PATIENCE = 60.0

Values = float | tuple[float, ...] | None  # what a search is told of a job; None: nothing


def do_job(cfg: DictConfig) -> Values:
    """Do the job. A failure ends a single run with its exit code, and is noted for a sweep's."""
    hydra = HydraConfig.get()
    folder = shown(Path(hydra.runtime.output_dir))
    if hydra.mode is not RunMode.MULTIRUN:
        _single(cfg, folder)
        return None
    if launch.is_basic(hydra):
        return _of_sweep(cfg, folder, hydra, None)
    sweep, written = folder.parent, folder / f"{hydra.job.name}.log"
    if not launch.goes_on(sweep):
        leave_no_trace(folder, written)
        return None
    if launch.here():
        return _of_sweep(cfg, folder, hydra, None)
    with as_worker(sweep, written) as worker:
        return _of_sweep(cfg, folder, hydra, worker)


def _single(cfg: DictConfig, folder: Path) -> None:
    try:
        _run(to_config(cfg), folder, _say, True)
        write_figures_of([folder], folder, _say)
    except NstError as error:
        _log(error)
        sys.exit(fail(error))


def _of_sweep(cfg: DictConfig, folder: Path, hydra: Any, worker: Worker | None) -> Values:
    """The job of a sweep; a worker only writes its log, and the sweep's process speaks."""
    config: Config | None = None
    try:
        config = to_config(cfg)
        if worker is None:
            record = _run(config, folder, _say, True, PATIENCE)
        else:
            _share_cores(config)
            config.logging.progress = False
            record = _run(config, folder, log.info, worker.listens, PATIENCE)
        return _values(hydra.sweeper, record, config)
    except NstError as error:
        _log(error)
        stopped = isinstance(error, Interrupted)
        if worker is None:
            code = fail(error)
            if stopped:
                sys.exit(code)
        elif stopped:
            _requeue(worker)
            return None
        _failed(folder, config, error, worker)
    except Exception as error:
        log.exception("a bug, or something that nobody foresaw")
        if worker is None:
            show_error(f"error: {type(error).__name__}: {error}")
        _failed(folder, config, error, worker)
    return None


def _run(
    config: Config,
    folder: Path,
    say: Callable[[str], None],
    signals: bool,
    patience: float = 0.0,
) -> dict[str, Any]:
    validate(config)
    from nst_exp.runner.run import run  # torch comes in here

    with nullcontext() if say == log.info else logged_lines():
        result = run(
            config,
            folder,
            handle_signals=signals,
            lock_timeout=patience,
            overrides=_overrides(),
        )
    losses = [f"{n} {result.losses[n]:.3e}" for n in ("total", "content", "style")]
    cost = f"{result.record['seconds']:.0f} s, {result.record['evaluations']} evaluations"
    say(f"{', '.join(losses)}; {cost}")
    say(f"result: {result.path}")
    return result.record


def _overrides() -> list[str]:
    return list(HydraConfig.get().overrides.task)


def _values(sweeper: Any, record: dict[str, Any], config: Config) -> Values:
    values = objectives(sweeper, record, config.logging.metrics)
    if values is None and is_optuna(sweeper):
        log.warning("a number is missing that the search needs: it takes this job for a failure")
    return values


def _share_cores(config: Config) -> None:
    """The config stays as it is: how many cores a job has is no part of what it is."""
    share = launch.threads()
    if config.trainer.threads is None and share is not None:
        import torch

        torch.set_num_threads(share)
        log.info(f"{share} threads: this job's share of the machine")


def _requeue(worker: Worker) -> None:
    """If the launcher wanted this process to end, and will start the job again: it may now."""
    if worker.requeue is None:
        return
    log.info("saved; the launcher decides whether the job is put into its queue again")
    try:
        worker.requeue()  # does not return if it is
    except Exception as error:  # submitit's, out of time for good
        log.error(str(error))


def _failed(folder: Path, config: Config | None, error: Exception, worker: Worker | None) -> None:
    """Leave a record; the other jobs of the sweep go on unless it is to stop at the first."""
    if not isinstance(
        error, FolderLocked
    ):  # the record is that of the process which is at work there
        record_failure(folder, config, error, _overrides())
    if config is None or not config.fail_fast:
        return
    if worker is not None:
        launch.stop(worker.sweep)
        return
    show_error("fail_fast=true: the sweep stops here")
    sys.exit(1)


def write_figures_of(jobs: list[Path], folder: Path, say: Callable[[str], None]) -> None:
    """The figures that the jobs ask for, in ``folder``. Raises OutputError."""
    try:
        for path in write_figures(jobs, folder / NAME):
            say(f"figure: {path}")
    except (NstError, OSError) as error:
        raise OutputError(f"the figure was not written: {error}") from error


def _log(error: NstError) -> None:
    for problem in getattr(error, "problems", [str(error)]):
        log.error(problem)


def _say(line: str) -> None:
    show(line)
    log.info(line)
