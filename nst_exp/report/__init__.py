"""Reports of sweeps and runs: contact sheets, trade-off plot, table, web page, figures.

``python -m nst_exp.report FOLDER...`` writes a report at any time, also while runs are active.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nst_exp.report.entries import read_report
from nst_exp.report.figure import write_figures
from nst_exp.report.table import as_text
from nst_exp.report.write import write_report

__all__ = ["table", "write_figures", "write_report"]


def table(folders: Sequence[Path]) -> str:
    """Return the jobs of sweeps or runs as lines of at most 100 characters.

    Raises:
        ConfigError: If a folder does not exist or holds no run.
    """
    return as_text(read_report(folders))
