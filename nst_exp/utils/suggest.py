"""Help with words that a user typed."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known word nearest to ``word``, or ``""``."""
    lowered = {choice.lower(): choice for choice in known}
    close = get_close_matches(word.lower(), lowered, n=1)
    return f"; did you mean '{lowered[close[0]]}'?" if close else ""


def as_utf8(text: str) -> str:
    r"""Return ``text``, with bytes that are not UTF-8 written as ``\udc..``."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
