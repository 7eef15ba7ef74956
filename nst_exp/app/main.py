"""The command line: Hydra's entry and the exit codes. No torch is imported before the config has
been found right, so that help, completion and mistakes are quick."""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from pathlib import Path

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from nst_exp.app.arguments import check_arguments
from nst_exp.app.complaints import complaint
from nst_exp.app.console import fail, show, show_error, shown
from nst_exp.app.job import Values, do_job, write_figures_of
from nst_exp.app.sweep import launchers as launch
from nst_exp.app.sweep.callbacks import CheckFirst, SweepJobs
from nst_exp.app.sweep.resolvers import note_varied
from nst_exp.results.run_folder import read_run_folder
from nst_exp.utils.atomic_files import disk_refusal
from nst_exp.utils.errors import ConfigError, NstError, OutputError
from nst_exp.utils.paths import CONFIGS
from nst_exp.utils.signals import SignalReceived, exit_code, stop_at_once

__all__ = ["CheckFirst", "SweepJobs", "main"]  # the callbacks: configs/config.yaml names them


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")
def _hydra_main(cfg: DictConfig) -> Values:
    return do_job(cfg)


def main() -> None:
    """Entry of ``python -m nst_exp`` and of the console script; exits with the codes of errors."""
    SweepJobs.forget()
    logging.raiseExceptions = False  # a log file on a full disk is no reason for tracebacks
    try:
        with stop_at_once():
            _command()
    except SignalReceived as stop:  # outside of a run, which ends in its own words
        show_error(f"stopped by {stop}")
        sys.exit(exit_code(stop.signal))
    except KeyboardInterrupt:
        show_error("interrupted")
        sys.exit(130)
    finally:
        SweepJobs.claim.close()


def _command() -> None:
    try:
        _launch()
    except BaseException as error:  # sys.exit among them: the report also shows what failed
        code = _end_of_sweep(interrupted=True)
        stopped = SweepJobs.stops is not None and SweepJobs.stops.wanted
        if stopped or (isinstance(error, SystemExit) and error.code == 1 and code > 1):
            sys.exit(code or 1)
        raise
    if code := _end_of_sweep(interrupted=False):
        sys.exit(code)


def _end_of_sweep(interrupted: bool) -> int:
    """Show what the sweep made and write its report; the exit code that it calls for."""
    SweepJobs.finish()
    folder, stops = SweepJobs.folder, SweepJobs.stops
    if folder is None:
        return 0
    jobs = SweepJobs.jobs()
    states = Counter(read_run_folder(job).status for job in jobs)
    code = 1 if set(states) - {"done"} else 0
    if stops is not None:
        code = stops.exit_code or code
    if code:
        if not SweepJobs.on_cluster:  # where it may really be
            states["cut off"] = states.pop("running", 0)
        others = ", ".join(f"{n} {state}" for state, n in states.items() if n and state != "done")
        show_error(
            f"{states['done']} jobs done, {others or 'the others not begun'}; "
            f"the same command with out={shown(folder)} does what is left"
        )
    try:
        if jobs:
            _write_report(shown(folder), interrupted)
        write_figures_of(jobs, shown(folder), show)
        if SweepJobs.seeks_compromises and states["done"]:
            from nst_exp.report.pareto import write_pareto

            for path in write_pareto(shown(folder), shown(folder)):
                show(f"best compromises: {path}")
    except NstError as error:
        code = code or fail(error)
    return code


def _write_report(folder: Path, interrupted: bool) -> None:
    """The table on the screen, and the files beside the jobs unless somebody wants an end."""
    from nst_exp.report import table, write_report

    show(table([folder]))
    if not interrupted:
        for path in write_report([folder], folder):
            show(f"report: {path}")


def _launch() -> None:
    # Exceptions come through to here instead of being printed by Hydra with its own exit codes.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # Hydra wants -m before the settings, people write it anywhere.
    sweep = [argument for argument in sys.argv[1:] if argument in ("-m", "--multirun")]
    arguments = sweep + [argument for argument in sys.argv[1:] if argument not in sweep]
    sys.argv[1:] = arguments
    try:
        check_arguments(arguments)
        if any(argument.startswith("from_image=") for argument in arguments):
            from nst_exp.app.from_image import expand

            sys.argv[1:] = arguments = expand(arguments)
        note_varied(arguments)
        _hydra_main()
    except NstError as error:
        sys.exit(fail(error))
    except ValueError as error:
        if "No trials are completed" in str(error):  # Optuna's last word; every job failed
            return
        if isinstance(error.__cause__, OSError):  # of the log file in the run's folder
            sys.exit(fail(_unwritable(error.__cause__)))
        if "Config group override" not in str(error):  # Hydra's, for a group set to a number
            raise
        sys.exit(fail(ConfigError(complaint(error, arguments))))
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        sys.exit(fail(ConfigError(complaint(error, arguments))))
    except OSError as error:
        if error.filename is None and disk_refusal(error, Path.cwd()) is None:
            raise
        sys.exit(fail(_unwritable(error)))
    except KeyboardInterrupt:
        if SweepJobs.stops is None or not SweepJobs.stops.hopeless:
            show_error("interrupted")
        sys.exit(130)
    except Exception as error:
        if SweepJobs.stops is None or not (SweepJobs.stops.wanted or launch.lost_worker(error)):
            raise
        # What a sweeper makes of jobs that were stopped is no news.
        sys.exit(_lost(launch.lost_worker(error)))


def _unwritable(error: OSError) -> OutputError:
    place = error.filename or "the run's folder"
    return OutputError(f"{place}: {error.strerror}; choose another out=DIR")


def _lost(reason: str | None) -> int:
    """A worker has ended without a result; the exit code."""
    folder = SweepJobs.folder
    if reason is not None and folder is not None:
        show_error(f"error: a worker was lost: {reason}")
        if SweepJobs.on_cluster:
            show_error("the other jobs go on in the cluster's queue; nobody waits for them here")
        else:
            launch.stop(folder)
    return 1
