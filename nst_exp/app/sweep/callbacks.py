"""Hydra's callbacks: what happens before the jobs of a command, and around each."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, ClassVar

from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from nst_exp.app.complaints import complaint
from nst_exp.app.compose import to_config
from nst_exp.app.console import fail, show, shown
from nst_exp.app.sweep import launchers as launch
from nst_exp.app.sweep.config_cache import share_presets
from nst_exp.app.sweep.grid import plan
from nst_exp.app.sweep.progress import JobWatch, SweepProgress, words_of
from nst_exp.app.sweep.resolvers import varied_keys
from nst_exp.app.sweep.search import directions, is_optuna
from nst_exp.app.sweep.stops import Stops
from nst_exp.images import input_hashes
from nst_exp.results.lock import check_free, folder_lock
from nst_exp.results.record import LOCK, check_compatible, compute_fingerprint
from nst_exp.results.run_folder import find_run_folders, read_run_folder
from nst_exp.results.sweep_plan import SweepPlan, add_finished_jobs, values_of
from nst_exp.runner.validate import validate
from nst_exp.utils.errors import ConfigError, NstError


class CheckFirst(Callback):
    """Refuses a bad config before Hydra makes the run's folder."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called before a single run."""
        plain = copy.deepcopy(config)
        with open_dict(plain):
            del plain["hydra"]
        try:
            typed = to_config(plain)
            validate(typed)
            if typed.trainer.accelerator in ("gpu", "cuda", "mps"):
                from nst_exp.runner.trainer import check_device  # torch alone knows

                check_device(typed.trainer)
            # Hydra writes its own files into the folder even before the run can refuse it.
            with suppress(OSError):  # of a picture that cannot be read; loading it says so
                mark = compute_fingerprint(typed, input_hashes(typed))
                check_free(Path(config.hydra.run.dir))
                check_compatible(Path(config.hydra.run.dir), mark, typed.overwrite)
        except NstError as error:
            sys.exit(fail(error))


def _claim_and_plan(config: DictConfig, folder: Path) -> SweepPlan | None:
    """Claim the folder, then plan; a sweep that is refused leaves no folder that was not there."""
    fresh = not folder.exists()
    SweepJobs.claim.enter_context(folder_lock(folder))
    try:
        return plan(config)
    except BaseException:
        SweepJobs.claim.close()
        if fresh:
            with suppress(OSError):
                (folder / LOCK).unlink(missing_ok=True)
                folder.rmdir()
        raise


class SweepJobs(Callback):
    """Plans a sweep before its first job starts, and shows how far it is.

    What is kept here belongs to the process that starts the sweep, not to those of a launcher.
    """

    folder: ClassVar[Path | None] = None  # of the sweep that this process has started
    sweep: ClassVar[SweepPlan | None] = None  # its jobs, where they are known beforehand
    varied: ClassVar[list[str]] = []  # the keys that differ between jobs
    progress: ClassVar[SweepProgress | None] = None
    watch: ClassVar[JobWatch | None] = None  # in the place of ``progress`` with a launcher
    stops: ClassVar[Stops | None] = None  # likewise
    claim: ClassVar[ExitStack] = ExitStack()  # keeps other commands out of the folder
    on_cluster: ClassVar[bool] = False  # jobs outlive this process
    seeks_compromises: ClassVar[bool] = False  # a search with two objectives

    @classmethod
    def forget(cls) -> None:
        """As if no sweep had been started."""
        cls.claim.close()
        cls.folder = cls.sweep = cls.progress = cls.watch = cls.stops = None
        cls.varied, cls.on_cluster, cls.seeks_compromises = [], False, False

    @classmethod
    def finish(cls) -> None:
        """No job is waited for any more: the bar ends, and signals do what they did before."""
        if cls.progress is not None:
            cls.progress.close()
        if cls.watch is not None:
            cls.watch.close()
        if cls.stops is not None:
            cls.stops.close()
        if cls.folder is not None and cls.sweep is None:
            try:
                add_finished_jobs(cls.folder, cls.varied)
            except NstError as error:
                fail(error)

    @classmethod
    def jobs(cls) -> list[Path]:
        """The folders of the jobs that have begun."""
        if cls.folder is None:
            return []
        if cls.sweep is None:
            return find_run_folders(cls.folder)
        return [folder for folder in cls.sweep.folders if folder.is_dir()]

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called before the jobs of a sweep, which find the time of day in ``dir`` as it is now."""
        hydra = config.hydra
        folder = Path(hydra.sweep.dir)
        try:
            launch.check_launcher(hydra)
            share_presets()
            sweep = SweepJobs.sweep = _claim_and_plan(config, folder)
        except NstError as error:
            sys.exit(fail(error))
        except (HydraException, OmegaConfBaseException) as error:  # Hydra would swallow them here
            sys.exit(fail(ConfigError(complaint(error, sys.argv[1:]))))
        SweepJobs.folder = folder
        SweepJobs.varied = varied_keys(hydra.sweeper.get("params"))
        SweepJobs.seeks_compromises = is_optuna(hydra.sweeper) and directions(hydra.sweeper) == 2
        total = hydra.sweeper.get("n_trials") if sweep is None else len(sweep.jobs)
        if sweep is not None:
            done = sweep.count_done()
            there = f", {done} of them done already" if done else ""
            show(f"{len(sweep.jobs)} jobs{there}: {shown(folder)}")
        elif total:
            show(f"a search of {total} jobs: {shown(folder)}")
        if launch.is_basic(hydra):
            if (folder / launch.LAUNCH).exists():  # jobs of an earlier launch may still be there
                launch.stop(folder)
            SweepJobs.progress = SweepProgress(total, config.logging.progress)
            return
        together = len(sweep.jobs) if sweep is not None else int(hydra.sweeper.get("n_jobs") or 1)
        try:
            launch.begin(folder, launch.workers(hydra, together))
        except (NstError, OSError) as error:
            SweepJobs.folder = None
            sys.exit(fail(ConfigError(f"out={folder}: {error}")))
        SweepJobs.on_cluster = str(hydra.launcher._target_).endswith(".SlurmLauncher")
        SweepJobs.stops = Stops(folder)
        SweepJobs.watch = JobWatch(
            folder, total, SweepJobs.words, config.logging.progress, SweepJobs.stops
        )

    @classmethod
    def words(cls, job: Path, overrides: Sequence[str] = ()) -> str:
        """The values that tell a job from the others."""
        for planned in cls.sweep.jobs if cls.sweep is not None else []:
            if planned.folder == job.name:
                return words_of(planned.values)
        overrides = overrides or read_run_folder(job).overrides
        return words_of(values_of(overrides, cls.varied)) or job.name

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called before each job, in the process that does it."""
        if SweepJobs.progress is not None:
            job = Path(config.hydra.runtime.output_dir)
            SweepJobs.progress.start(SweepJobs.words(job, list(config.hydra.overrides.task)))

    def on_job_end(self, config: DictConfig, job_return: Any, **kwargs: Any) -> None:
        """Called behind each job, in the process that does it."""
        if SweepJobs.progress is not None:
            SweepJobs.progress.finish()
