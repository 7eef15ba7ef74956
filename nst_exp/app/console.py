"""Lines for the person at the terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tqdm import tqdm

from nst_exp.utils.errors import NstError


def show(line: str) -> None:
    """A line on standard output, at once."""
    with suppress(OSError, ValueError):  # a terminal or pipe that is gone is no reason to stop
        tqdm.write(line)  # above the progress bar
        sys.stdout.flush()


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


class _LineHandler(logging.Handler):
    """Passes every line that is logged to a function."""

    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self.write = write

    def emit(self, record: logging.LogRecord) -> None:
        warning = "warning: " if record.levelno >= logging.WARNING else ""
        self.write(f"{warning}{record.getMessage()}")


@contextmanager
def logged_lines(write: Callable[[str], None] = show) -> Iterator[None]:
    """Pass what nst_exp logs to ``write``."""
    logger = logging.getLogger("nst_exp")
    handler, level = _LineHandler(write), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
