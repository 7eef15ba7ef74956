"""What can go wrong, and the exit code that says so.

Every foreseen failure is one of these exceptions. The command line prints its message without a
traceback and exits with ``exit_code``; any other exception is a bug (exit code 1).
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class NstError(Exception):
    """A foreseen failure with a message written for the person at the terminal."""

    exit_code = 1


class ConfigError(NstError):
    """The configuration or an input file cannot be used. Lists every problem found at once."""

    exit_code = 2

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class NumericalError(NstError):
    """The optimization diverged and could not be brought back."""

    exit_code = 3


class WeightsError(NstError):
    """A backbone's weights cannot be had, or are not what they should be."""

    exit_code = 4


class OutputError(NstError):
    """A result cannot be written."""

    exit_code = 5


class Interrupted(NstError):
    """Stopped from outside by Ctrl-C (130) or SIGTERM (143), after saving what was there."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def as_utf8(text: str) -> str:
    """``text`` itself, or with ``\\udc..`` in it for bytes of another encoding than UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the known word nearest to ``word``, or an empty string."""
    choices = list(known)
    close = get_close_matches(word, choices, n=1, cutoff=0.6)
    if not close:  # a difference in case alone can fall below the cutoff
        lowered = {choice.lower(): choice for choice in choices}
        close = [
            lowered[match] for match in get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
        ]
    return f"; did you mean '{close[0]}'?" if close else ""
