"""Hydra's callbacks: what happens before a run, and before, during and after a sweep."""

from __future__ import annotations

import logging
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, configure_log
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from nst_exp.app.compose import COMPOSITION_ERRORS, to_config
from nst_exp.app.console import display_path, fail, log_start
from nst_exp.app.hydra_options import check_folders
from nst_exp.app.job import JobFailure, write_figures_of
from nst_exp.app.messages import describe_error
from nst_exp.app.sweep.grid import format_values, plan_sweep
from nst_exp.app.sweep.launchers import is_a
from nst_exp.app.sweep.progress import SweepProgress
from nst_exp.images import input_hashes
from nst_exp.results.lock import LOCK, check_free, folder_lock
from nst_exp.results.record import read_record
from nst_exp.results.run_folder import check_compatible, find_run_folders, is_done
from nst_exp.results.sweep_plan import SweepPlan, add_finished_jobs, values_of
from nst_exp.runner.validate import validate, validate_here
from nst_exp.utils.errors import ConfigError, NstError
from nst_exp.utils.paths import LATEST
from nst_exp.utils.progress import waiting
from nst_exp.utils.signals import reraise_interruption

log = logging.getLogger(__name__)


@contextmanager
def _exit_on_error() -> Iterator[None]:
    """Exit with the code of an error; Hydra would only warn of an exception in a callback."""
    try:
        yield
    except NstError as error:
        sys.exit(fail(error))
    except COMPOSITION_ERRORS as error:
        sys.exit(fail(ConfigError(describe_error(error))))
    except Exception:  # a bug
        reraise_interruption()
        traceback.print_exc()
        sys.exit(1)


def report_sweep(folder: Path, interrupted: bool = False) -> None:
    """Log the table of the jobs that have begun, and write the report unless interrupted."""
    from nst_exp.report import write_report
    from nst_exp.report.table import table

    add_finished_jobs(folder)
    if find_run_folders(folder):
        log.info(table([folder]))
        for path in [] if interrupted else write_report([folder], folder):
            log.info(f"report: {path}")


class ValidateConfig(Callback):
    """Refuses a bad config before Hydra makes the folder of a single run."""

    @_exit_on_error()
    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Validate the config, and whether its folder is free."""
        check_folders(config.hydra)
        typed = to_config(config)
        validate(typed)
        # Hydra writes its own files into the folder even before the run can refuse it.
        folder = Path(config.hydra.run.dir)
        earlier: dict[str, Any] = {}
        with suppress(OSError):  # an image that cannot be read; loading it raises the error
            hashes = input_hashes(typed)
            check_free(folder)
            earlier = check_compatible(folder, typed, hashes)
        if is_done(earlier, typed):
            return
        log_start(typed)
        place = display_path(folder)
        watched = typed.logging.image_every
        log.info(f"watch    {place / LATEST}" if watched else f"folder   {place}")
        with waiting("loading PyTorch", typed.logging.progress):
            validate_here(typed)
            from nst_exp.runner.trainer import describe_device

        log.info(f"device   {describe_device(typed.trainer)}")


class SweepSession(Callback):
    """One sweep, from its plan to its report, in the process that starts it."""

    def __init__(self) -> None:
        """Begin without a plan; Hydra creates one session per process."""
        self.plan: SweepPlan | None = None
        self.progress: SweepProgress | None = None  # of jobs that run in this process
        self.lock = ExitStack()  # keeps other commands out of the folder

    def __reduce__(self) -> tuple[type[SweepSession], tuple[()]]:
        """Give the workers of a launcher a session without a plan, which does nothing."""
        return SweepSession, ()

    @_exit_on_error()
    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Lock the folder, plan the jobs and start counting them."""
        check_folders(config.hydra)
        folder = Path(config.hydra.sweep.dir)
        fresh = [path for path in (folder, *folder.parents) if not path.exists()]
        self.lock.enter_context(folder_lock(folder))
        try:
            with waiting("checking the jobs", config.logging.progress):
                self.plan = plan_sweep(config)
        except BaseException:  # a sweep that is refused leaves no folder
            self.lock.close()
            with suppress(OSError):
                for path in fresh:
                    (path / LOCK).unlink(missing_ok=True)
                    path.rmdir()
            raise
        HydraConfig.instance().set_config(config)  # read if a launcher or sweeper breaks
        if "tensorboard" in config.logging.loggers:
            from nst_exp.report.tensorboard_summary import SUMMARY, start_summary

            start_summary(folder / SUMMARY, self.plan.varied)
        jobs = self.plan.folders
        if self.plan.done:
            log.info(f"{self.plan.done} of {len(jobs)} jobs are done already")
        if is_a(config.hydra.launcher, "BasicLauncher"):
            from nst_exp.runner.trainer import describe_device

            log.info(f"device   {describe_device(config.trainer)}")
            total = len(jobs) or config.hydra.sweeper.get("n_trials")
            self.progress = SweepProgress(total)

    @_exit_on_error()
    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Log which job begins."""
        if self.plan is not None and self.progress is not None:
            values = values_of(config.hydra.overrides.task, self.plan.varied)
            self.progress.start(format_values(values))

    @_exit_on_error()
    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """End the sweep after an interrupted job, or after a failed one with ``fail_fast``."""
        if self.plan is None or self.progress is None:
            return
        self.progress.finish()
        failure = job_return.return_value
        if isinstance(failure, JobFailure) and failure.exit_code > 128:
            self._end(self.plan, config, interrupted=True)
            sys.exit(failure.exit_code)
        if isinstance(failure, JobFailure) and config.fail_fast:
            log.error("fail_fast=true: the sweep stops here")
            sys.exit(self._end(self.plan, config))

    @_exit_on_error()
    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write the report and exit with code 1 if a job failed."""
        if self.plan is not None and (code := self._end(self.plan, config)):
            sys.exit(code)

    def _end(self, plan: SweepPlan, config: DictConfig, interrupted: bool = False) -> int:
        """Log what was done, write the report unless interrupted, and return the exit code."""
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)  # not the last job's file
        folder = display_path(plan.folder)
        jobs = plan.folders or find_run_folders(folder)
        states = Counter(str(read_record(job).get("status", "not started")) for job in jobs)
        done = states.pop("done", 0)
        report_sweep(folder, interrupted)
        write_figures_of([job for job in jobs if job.is_dir()], folder)
        if states or not done:
            counts = [f"{done} of {len(jobs)} jobs done", *(f"{states[s]} {s}" for s in states)]
            log.error(f"{', '.join(counts)}; the same command with out={folder} does what is left")
        self.lock.close()
        return 1 if states or not done else 0
