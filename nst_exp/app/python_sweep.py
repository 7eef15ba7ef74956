"""A sweep from Python: the same as on the command line, in this process."""

import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from PIL import Image

from nst_exp.app.api import Stopped, alone, folder_of_given
from nst_exp.app.compose import COMPOSITION_ERRORS, own_hydra
from nst_exp.app.console import ConsoleHandler
from nst_exp.app.job import do_job
from nst_exp.app.keywords import (
    Overrides,
    format_value,
    prefixed,
    takes_settings,
    to_overrides,
)
from nst_exp.app.known_keys import ONE_OR_MORE
from nst_exp.app.messages import describe_error
from nst_exp.app.overrides import check_arguments
from nst_exp.report.frame import import_pandas, load_results
from nst_exp.utils.errors import ConfigError, NstError, causes_of
from nst_exp.utils.paths import CONFIGS

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

# Hydra would replace the handlers of the caller's loggers.
_KEEP_LOGGERS = ["hydra.job_logging.root=null", "hydra.hydra_logging.root=null"]


@takes_settings
def sweep(
    varied: Mapping[str, Any] | str | Sequence[str],
    content: Any = None,
    style: Any = None,
    *,
    out: str | Path | None = None,
    overrides: Overrides = (),
    **settings: Any,
) -> "pd.DataFrame":
    """Do one run for every combination of values, and write the report.

    The same call with the same ``out`` skips jobs that are done and does what is left.

    Args:
        varied: The values of each key that varies: ``{"beta": [0.5, 5, 50], "seed": range(3)}``, or
            as on the command line: ``"beta=0.5,5,50 seed=range(3)"``.
        content: As in ``stylize``.
        style: As in ``stylize``.
        out: Folder of the sweep; a dated one in ``outputs/sweep`` if None.
        overrides: Of all jobs, as in ``stylize``.
        settings: Of all jobs, as in ``stylize``.

    Returns:
        A DataFrame as that of ``load_results``: one row per job with its values, losses, metrics
        and the path of its image. ``attrs["folder"]`` is the folder of the sweep.

    Raises:
        NstError: ConfigError for mistakes, before the first job starts, or if pandas is missing.
        Stopped: After Ctrl-C or a notebook's stop button; finished jobs are kept.
    """
    named = {"content": content, "style": style}
    settings = {key: value for key, value in named.items() if value is not None} | settings
    folder = (
        Path(out)
        if out is not None
        else Path(f"outputs/sweep/{datetime.now():%Y-%m-%d_%H-%M-%S-%f}")
    )
    try:
        import_pandas("sweep")
        with alone(), folder_of_given(folder) as given:
            arguments = ["--multirun", *to_overrides(overrides, settings, given)]
            arguments += [*_varied(varied, given), *to_overrides((), {"out": folder}, given)]
            code = _run(arguments)
        frame = load_results(folder)
    except NstError as error:
        raise error.with_traceback(None) from None  # not through the inside of this package
    if code > 128:
        message = (
            f"stopped; finished jobs are in {folder}; the same call with out='{folder}' resumes"
        )
        raise Stopped(message)
    if code:
        failed = int((frame["status"] != "done").sum())
        log.warning("%d of %d jobs failed; the same call repeats them", failed, len(frame))
    frame.attrs["folder"] = str(folder)
    return frame


def _varied(varied: Any, given: Path) -> list[str]:
    if not isinstance(varied, Mapping):
        return to_overrides(varied, {}, given)
    found = []
    for key, values in varied.items():
        single = isinstance(values, str | Mapping | Image.Image) or not isinstance(values, Iterable)
        if single:
            raise ConfigError(f"{key}={values!r}: must be a list of values; give [{values!r}]")
        if key in ONE_OR_MORE and any(isinstance(value, list | tuple) for value in values):
            values = [value if isinstance(value, list | tuple) else [value] for value in values]
        entries = [format_value(f"{key}[{n}]", value, given) for n, value in enumerate(values)]
        if not entries:
            raise ConfigError(f"{key}: has no values; list them")
        found.append(f"{prefixed(key)}={','.join(entries)}")
    return found


def _run(arguments: list[str]) -> int:
    """Run a command in this process and return its exit code.

    Raises:
        NstError: If it was refused before the first job.
    """
    with own_hydra(), _as_before(), _shown():
        try:
            sys.argv = ["nst_exp", *check_arguments(arguments), *_KEEP_LOGGERS]
            hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")(do_job)()
        except COMPOSITION_ERRORS as error:
            raise ConfigError(describe_error(error)) from error
        except SystemExit as end:
            refusals = (cause for cause in causes_of(end) if isinstance(cause, NstError))
            if refusal := next(refusals, None):
                raise refusal from None
            return int(end.code or 0)
    return 0


@contextmanager
def _as_before() -> Iterator[None]:
    """Restore what a command changes in its process."""
    arguments, config = sys.argv, HydraConfig.instance().cfg
    full = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises exceptions instead of printing them
    try:
        yield
    finally:
        sys.argv, HydraConfig.instance().cfg = arguments, config
        if full is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full


@contextmanager
def _shown() -> Iterator[None]:
    """Print what the sweep logs; errors are raised, or are in the table."""
    logger, handler = logging.getLogger("nst_exp"), ConsoleHandler()
    handler.addFilter(lambda record: record.levelno < logging.ERROR)
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
