"""``python -m nst_exp.report FOLDER... [--out DIR]``, also as ``nst-exp-report``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nst_exp.report import write_figures, write_report
from nst_exp.report.entries import read_report
from nst_exp.utils.errors import NstError, OutputError

_DESCRIPTION = """
Write the report of runs or sweeps into DIR: contact sheet, trade-off plot, table, web page, a
summary for TensorBoard, and the figures that the runs ask for (figure.title). DIR is FOLDER itself,
or ./report for several folders.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="nst-exp-report", description=_DESCRIPTION)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="a run or sweep")
    parser.add_argument("--out", type=Path, metavar="DIR", help="created if it does not exist")
    given = parser.parse_args(arguments)
    target = given.out or (given.folders[0] if len(given.folders) == 1 else Path("report"))
    try:
        for path in write_report(given.folders, target):
            print(f"report: {path}")
        runs = [row.run.path for row in read_report(given.folders).rows]
        for path in write_figures(runs, target):
            print(f"figure: {path}")
    except NstError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {error.filename or target}: {error.strerror}", file=sys.stderr)
        return OutputError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
