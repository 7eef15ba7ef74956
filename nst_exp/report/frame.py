"""Results as pandas DataFrames."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nst_exp.report.entries import read_report
from nst_exp.report.table import as_csv
from nst_exp.report.tradeoff import find_tradeoff
from nst_exp.results.losses_csv import COLUMNS, Row
from nst_exp.utils.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd


def load_results(*folders: str | Path) -> "pd.DataFrame":
    """Read the results of sweeps and single runs, one row per job.

    The columns are those of ``results.csv``: the keys that vary, the losses as ``total_loss`` and
    so on, the metrics, seconds and status; ``folder`` and ``image`` are paths. A value that is not
    known is NaN. Jobs of a sweep that have not started yet are in the table as well.

    Raises:
        ConfigError: If a folder does not exist or holds no run, or pandas is missing.
    """
    pandas = import_pandas("load_results")
    report = read_report([Path(folder).expanduser() for folder in folders])
    text = io.StringIO(as_csv(report, find_tradeoff(report)))
    # A style called "null" or "none" is a text.
    frame = pandas.read_csv(text, keep_default_na=False, na_values=[""])
    frame["folder"] = [str(row.run.path) for row in report.rows]
    frame["image"] = [str(row.image) if row.image else None for row in report.rows]
    return frame


def losses_frame(rows: Sequence[Row]) -> "pd.DataFrame":
    """Return the rows of ``losses.csv`` as a DataFrame."""
    frame = import_pandas("history").DataFrame(list(rows), columns=list(COLUMNS))
    return frame.astype({"step": int, "evaluations": int})


def import_pandas(name: str) -> Any:
    """Import pandas for the function or attribute ``name``.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        import pandas
    except ImportError:
        problem = f"{name}: needs pandas; pip install 'nst-exp[notebook]'"
        raise ConfigError(problem) from None
    return pandas
