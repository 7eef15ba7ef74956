"""``losses.csv``: the losses of a run at its steps."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from nst_exp.utils.atomic_files import write_text_atomically
from nst_exp.utils.errors import OutputError

NAME = "losses.csv"
LOSSES = ("total", "content", "style", "tv")
COLUMNS = ("step", "evaluations", *LOSSES)
_HEADER = ",".join(COLUMNS)

Row = tuple[float, ...]  # in the order of COLUMNS


def start_losses(path: Path, done: int) -> list[Row]:
    """Keep the rows up to step ``done`` and return them, or start a new file if it is 0.

    Raises:
        OutputError: If the file cannot be written.
    """
    kept = [row for row in read_losses(path) if row[0] <= done]
    write_text_atomically(path, "\n".join([_HEADER, *map(_line, kept)]) + "\n")
    return kept


def append_losses(path: Path, step: int, evaluations: int, losses: Mapping[str, float]) -> None:
    """Add a row with those of ``losses`` that LOSSES names; it is complete on the disk.

    Raises:
        OutputError: If the file cannot be written.
    """
    row = (step, evaluations, *(losses[name] for name in LOSSES))
    try:
        with path.open("a", encoding="utf-8", newline="") as stream:
            stream.write(_line(row) + "\n")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error


def read_losses(path: Path) -> list[Row]:
    """Read the rows of a file; empty if it is missing or has other columns."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError):
        return []
    if lines[0] != _HEADER:
        return []
    rows: list[Row] = []
    for line in lines[1:-1]:  # what follows the last line end may be cut off
        with suppress(ValueError):  # after a power cut
            rows.append(tuple(map(float, line.split(","))))
    return rows


def _line(row: Row) -> str:
    return ",".join(f"{value:.9g}" for value in row)  # nine digits identify every float32
