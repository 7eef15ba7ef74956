"""Reports of sweeps and runs: contact sheets, trade-off plot, table, web page, figures.

``python -m nst_exp.report FOLDER...`` writes a report at any time, also while runs are active.
"""

from nst_exp.report.figure import write_figures
from nst_exp.report.write import write_report

__all__ = ["write_figures", "write_report"]
