"""One job: what Hydra calls with a composed config, here or in the process of a launcher."""

import logging
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from nst_exp.app.compose import to_config
from nst_exp.app.console import display_path, fail, install_console
from nst_exp.app.sweep.launchers import another_job_failed, is_a
from nst_exp.app.sweep.search import Objectives, objectives
from nst_exp.config.schema import Config
from nst_exp.results.lock import FolderLocked
from nst_exp.results.run_folder import record_failure
from nst_exp.runner.validate import validate
from nst_exp.utils.errors import Interrupted, NstError
from nst_exp.utils.progress import waiting

log = logging.getLogger(__name__)

# Seconds to wait for the folder of a job: a process of an earlier launch may be about to leave it.
LOCK_TIMEOUT = 60.0


@dataclass(frozen=True)
class JobFailure:
    """How a job of a sweep failed; jobs return it instead of raising: the others continue."""

    exit_code: int  # above 128 if a signal ended the job


def do_job(cfg: DictConfig) -> Objectives | JobFailure | None:
    """Run the job of a composed config.

    Returns:
        For a sweep: what a search minimizes, None without a search, or how the job failed.

    Raises:
        SystemExit: With the exit code of the error, if a single run fails.
    """
    hydra = HydraConfig.get()
    folder = display_path(Path(hydra.runtime.output_dir))
    overrides = cast(list[str], OmegaConf.to_container(hydra.overrides.task, resolve=False))
    if hydra.mode is RunMode.MULTIRUN:
        return _sweep_job(cfg, folder, overrides, hydra)
    try:
        _run(to_config(cfg), folder, overrides, 0.0)
        write_figures_of([folder], folder)
    except NstError as error:
        sys.exit(fail(error))
    return None


def _sweep_job(
    cfg: DictConfig, folder: Path, overrides: list[str], hydra: Any
) -> Objectives | JobFailure | None:
    install_console()
    config: Config | None = None
    try:
        config = to_config(cfg)
        if not is_a(hydra.sweeper, "BasicSweeper"):  # whose jobs were validated with the plan
            validate(config)
        if not is_a(hydra.launcher, "BasicLauncher"):
            if config.fail_fast and another_job_failed(folder.parent):
                return JobFailure(1)
            config = replace(config, logging=replace(config.logging, progress=False))
        record = _run(config, folder, overrides, LOCK_TIMEOUT)
        return objectives(hydra.sweeper, record, config.logging.metrics)
    except NstError as error:
        # Of the jobs that a signal ends, the sweep says what to do.
        silent = isinstance(error, Interrupted) and not is_a(hydra.launcher, "SlurmLauncher")
        failure = JobFailure(error.exit_code if silent else fail(error))
        # A locked folder has the record of the process that works there.
        if failure.exit_code <= 128 and not isinstance(error, FolderLocked):
            record_failure(folder, config, error, overrides)
    except Exception as error:
        failure = JobFailure(1)
        log.exception(f"{type(error).__name__}: {error}")
        record_failure(folder, config, error, overrides)
    return failure


def _run(config: Config, folder: Path, overrides: list[str], timeout: float) -> dict[str, Any]:
    with waiting("loading PyTorch", config.logging.progress):
        from nst_exp.runner.memory import keep_freed_memory
        from nst_exp.runner.run import run

    keep_freed_memory(config.size)
    signals = threading.current_thread() is threading.main_thread()
    result = run(config, folder, handle_signals=signals, lock_timeout=timeout, overrides=overrides)
    losses = [f"{n} {result.losses[n]:.3e}" for n in ("total", "content", "style")]
    cost = f"{result.record['seconds']:.0f} s, {result.record['evaluations']} evaluations"
    log.info(f"{', '.join(losses)}; {cost}")
    log.info(f"result: {result.path}")
    return result.record


def write_figures_of(jobs: Sequence[Path], folder: Path) -> None:
    """Write the figures that the configs of jobs ask for into ``folder``."""
    from nst_exp.report.figure import write_figures

    for path in write_figures(jobs, folder):
        log.info(f"figure: {path}")
