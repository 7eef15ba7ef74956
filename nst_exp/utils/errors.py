"""Exceptions for expected failures, each with its exit code.

The command line prints the message without a traceback and exits with ``exit_code``. Any other
exception is a bug (exit code 1).
"""

from collections.abc import Iterable, Iterator
from typing import Any


class NstError(Exception):
    """Base class of expected failures; the message is written for the user."""

    exit_code = 1


class ConfigError(NstError):
    """The config or an input file cannot be used; lists every problem found."""

    exit_code = 2

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class NumericalError(NstError):
    """The optimization diverged and did not recover."""

    exit_code = 3


class WeightsError(NstError):
    """The weights of a backbone are not available, or not the expected ones."""

    exit_code = 4


class OutputError(NstError):
    """A result could not be written."""

    exit_code = 5


class Interrupted(NstError):
    """The run was stopped by a signal; exit code 130 after Ctrl-C, 143 after SIGTERM.

    Attributes:
        signal: Its number; 0 if the caller of the run stopped it.
        result: The ``Result`` so far, if there is an image.
    """

    def __init__(self, message: str, signal: int, result: Any = None) -> None:
        super().__init__(message)
        self.signal, self.result = signal, result
        self.exit_code = 128 + signal  # as shells report it


def reason_of(error: BaseException) -> str:
    """Return the reason that an exception gives, without file names and error numbers."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, the one that caused it or was handled when it was raised, and so on."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
