"""The report of a sweep, of several, or of any runs: sheets, table, page, TensorBoard.

``python -m nst_exp.report FOLDER...`` makes it anew at any time, also while runs go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nst_exp.report.entries import read_report
from nst_exp.report.table import as_text
from nst_exp.report.write import write_report

__all__ = ["table", "write_report"]


def table(folders: Sequence[Path]) -> str:
    """The jobs of sweeps or runs as lines for the terminal, 100 characters wide at most.

    Raises ConfigError for a folder that is not there or holds no run.
    """
    return as_text(read_report(folders))
