"""The command line: Hydra's entry and the exit codes.

No torch is imported before the config is valid, so that mistakes are answered at once.
"""

import logging
import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig

from nst_exp.app.compose import COMPOSITION_ERRORS, own_hydra
from nst_exp.app.console import display_path, fail, install_console
from nst_exp.app.from_image import expand
from nst_exp.app.job import do_job
from nst_exp.app.messages import describe_error, first_line
from nst_exp.app.other_forms import refuse_other_forms
from nst_exp.app.overrides import check_arguments
from nst_exp.app.sweep.callbacks import report_sweep
from nst_exp.utils.atomic_files import disk_refusal
from nst_exp.utils.errors import ConfigError, NstError, OutputError
from nst_exp.utils.paths import CONFIGS
from nst_exp.utils.signals import SignalReceived, reraise_interruption, stop_at_once

log = logging.getLogger(__name__)

_SWEEP = ("-m", "--multirun")


def main() -> None:
    """Run the command line and exit with the codes of ``nst_exp.utils.errors``."""
    install_console()
    logging.raiseExceptions = False  # no tracebacks for a log file on a full disk
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises exceptions instead of printing them
    sweep = set(_SWEEP) & set(sys.argv)
    hint = "; the same command with the same out=DIR does what is left" if sweep else ""
    try:
        with stop_at_once(), own_hydra():
            code = _command(sys.argv[1:])
    except SignalReceived as stop:  # outside of a run, which logs it itself
        log.error(f"stopped by {stop}{hint}")
        code = 128 + stop.signal
    except KeyboardInterrupt:
        log.error(f"interrupted{hint}")
        code = 130
    if code:
        sys.exit(code)


def _command(arguments: list[str]) -> int:
    """Run one command and return its exit code; sweeps exit by themselves if a job failed."""
    try:
        arguments = expand(arguments)
        refuse_other_forms(arguments)
        sys.argv[1:] = check_arguments(arguments)
        hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")(do_job)()
    except NstError as error:
        return fail(error)
    except COMPOSITION_ERRORS as error:
        return fail(ConfigError(describe_error(error)))
    except OSError as error:
        if error.filename is None and disk_refusal(error, Path.cwd()) is None:
            raise
        return fail(_unwritable(error))
    except Exception as error:
        reraise_interruption()
        if isinstance(error.__cause__, OSError):  # of the log file in the run's folder
            return fail(_unwritable(error.__cause__))
        if not (set(_SWEEP) & set(arguments) and HydraConfig.initialized()):
            raise
        # Jobs return their failures: this comes from a launcher or a sweeper, for example
        # because a worker was killed.
        folder = display_path(Path(HydraConfig.get().sweep.dir))
        problem = f"{type(error).__name__}: {first_line(error)}"
        log.error(f"{problem}; the same command with out={folder} does what is left")
        report_sweep(folder)
        return 1
    return 0


def _unwritable(error: OSError) -> OutputError:
    place = error.filename or "the run's folder"
    return OutputError(f"{place}: {error.strerror}; choose another out=DIR")
