"""Lines for the person at the terminal."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from nst_exp.utils.errors import NstError


def show(line: str) -> None:
    """A line on standard output, at once."""
    with suppress(OSError, ValueError):  # a terminal or pipe that is gone is no reason to stop
        print(line, flush=True)


def show_error(line: str) -> None:
    """A line on standard error, at once."""
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def fail(error: NstError) -> int:
    """Say what is wrong, a line for each problem; the exit code that it calls for."""
    for problem in getattr(error, "problems", [str(error)]):
        show_error(f"error: {problem}")
    return error.exit_code


def shown(folder: Path) -> Path:
    """``folder`` as a person would write it here."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
