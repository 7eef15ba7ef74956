"""Help with words that a user typed."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known word nearest to ``word``, or ``""``."""
    choices = list(known)
    # A difference in case alone can fall below the cutoff.
    lowered = {choice.lower(): choice for choice in reversed(choices)}
    close = get_close_matches(word, choices, n=1) or [
        lowered[match] for match in get_close_matches(word.lower(), lowered, n=1)
    ]
    return f"; did you mean '{close[0]}'?" if close else ""


def as_utf8(text: str) -> str:
    r"""Return ``text``, with bytes that are not UTF-8 written as ``\udc..``."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
