"""What a run logs, as lines."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _LineHandler(logging.Handler):
    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self.write = write

    def emit(self, record: logging.LogRecord) -> None:
        warning = "warning: " if record.levelno >= logging.WARNING else ""
        self.write(f"{warning}{record.getMessage()}")


@contextmanager
def logged_lines(write: Callable[[str], None]) -> Iterator[None]:
    """Call ``write`` with every line that nst_exp logs."""
    logger = logging.getLogger("nst_exp")
    handler, level = _LineHandler(write), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
