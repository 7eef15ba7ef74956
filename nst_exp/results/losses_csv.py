"""``losses.csv``: the losses of a run at its steps."""

from __future__ import annotations

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


class LossFile:
    """The losses of one run; every row is complete on the disk before the next step begins."""

    def __init__(self, path: Path) -> None:
        """Choose the file; nothing is written yet."""
        self.path = path

    def open(self, done: int) -> None:
        """Keep the rows up to step ``done``, or start a new file if it is 0.

        Raises:
            OutputError: If the file cannot be written.
        """
        kept = [row for row in read_losses(self.path) if row[0] <= done] if done else []
        lines = [_HEADER, *(_line(row) for row in kept)]
        write_text_atomically(self.path, "\n".join(lines) + "\n")

    def append(self, step: int, evaluations: int, losses: Mapping[str, float]) -> None:
        """Add a row with those of ``losses`` that LOSSES names.

        Raises:
            OutputError: If the file cannot be written.
        """
        row = (step, evaluations, *(losses[name] for name in LOSSES))
        try:
            with open(self.path, "a", encoding="utf-8", newline="") as stream:
                stream.write(_line(row) + "\n")
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}") from error

    def discard(self) -> None:
        """Remove the file of an earlier run."""
        self.path.unlink(missing_ok=True)


def read_losses(path: Path) -> list[Row]:
    """Read the rows of a file by rising steps, without a row that was cut off by a kill.

    Returns:
        The rows; empty if there is no such file or it has other columns.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return []
    lines = text.split("\n")
    if lines[0] != _HEADER:
        return []
    rows: dict[float, Row] = {}
    for line in lines[1:-1]:  # the rest may be cut off
        with suppress(ValueError):
            row = tuple(map(float, line.split(",")))
            if len(row) == len(COLUMNS):
                rows[row[0]] = row
    return [rows[step] for step in sorted(rows)]


def _line(row: Row) -> str:
    return ",".join(f"{value:.9g}" for value in row)  # nine digits identify every float32
