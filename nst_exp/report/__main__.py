"""``python -m nst_exp.report FOLDER... [--out DIR]``, also as ``nst-exp-report``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nst_exp.report.write import write_report
from nst_exp.utils.errors import NstError

_HERE = Path("report")


def main(arguments: Sequence[str] | None = None) -> int:
    """Sheets, table, page and TensorBoard's summary of sweeps or runs, into DIR.

    DIR is the folder itself if it is one, ./report for several. Files are replaced only if they
    come from a report.
    """
    parser = argparse.ArgumentParser(prog="nst-exp-report", description=main.__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="runs or sweeps")
    parser.add_argument("--out", type=Path, metavar="DIR", help="made if it is not there")
    given = parser.parse_args(arguments)
    target = given.out or (given.folders[0] if len(given.folders) == 1 else _HERE)
    try:
        for path in write_report(given.folders, target):
            print(f"report: {path}")
    except NstError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {error.filename or target}: {error.strerror}", file=sys.stderr)
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main())
