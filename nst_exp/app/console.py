"""What the user sees: the handler of the logger ``nst_exp``, and errors."""

import logging
import sys
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from nst_exp.utils.errors import Interrupted, NstError
from nst_exp.utils.signals import reraise_interruption

log = logging.getLogger("nst_exp")


class ConsoleHandler(logging.Handler):
    """Prints messages at once, above progress bars: errors to stderr, all others to stdout."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message; a terminal or pipe that is gone does not stop the run."""
        prefix = f"{record.levelname.lower()}: " if record.levelno > logging.INFO else ""
        stream = sys.stderr if record.levelno >= logging.ERROR else sys.stdout
        with suppress(OSError, ValueError):
            tqdm.write(prefix + record.getMessage(), file=stream)
            stream.flush()


def install_console() -> None:
    """Print what this package logs, once per process."""
    log.setLevel(logging.INFO)
    if not any(isinstance(handler, ConsoleHandler) for handler in log.handlers):
        log.addHandler(ConsoleHandler())


def fail(error: NstError) -> int:
    """Log each problem of an error and return the exit code.

    An error that hides a signal is not logged: the signal is raised again.
    """
    if not isinstance(error, Interrupted):  # which says what was saved
        reraise_interruption()
    for problem in getattr(error, "problems", [str(error)]):
        log.error(problem)
    return error.exit_code


def display_path(path: Path) -> Path:
    """Return ``path`` relative to the working directory if it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
