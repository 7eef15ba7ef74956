"""``losses.csv``: a run's losses over its steps, for whoever has neither torch nor TensorBoard."""

from __future__ import annotations

import csv
import io
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
    """The file of one run. Every row is whole on the disk before the next step begins."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def foreign(self) -> bool:
        """Whether there is a file of that name which no run has written."""
        return self.path.exists() and _first_line(self.path) != _HEADER

    def open(self, done: int) -> None:
        """Keep what was written up to step ``done``; 0 begins anew.

        Raises OutputError if the file cannot be written.
        """
        kept = [row for row in read_losses(self.path) if row[0] <= done] if done else []
        lines = [_HEADER, *(_line(row) for row in kept)]
        write_text_atomically(self.path, "\n".join(lines) + "\n")

    def append(self, step: int, evaluations: int, losses: Mapping[str, float]) -> None:
        """Add a row; ``losses`` has LOSSES, and others that are left out. Raises OutputError."""
        row = (step, evaluations, *(losses[name] for name in LOSSES))
        try:
            with open(self.path, "a", encoding="utf-8", newline="") as stream:
                stream.write(_line(row) + "\n")
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}") from error

    def discard(self) -> None:
        """Remove what an earlier run left, so that nobody takes it for this run's."""
        if self.path.exists() and not self.foreign:
            self.path.unlink(missing_ok=True)


def read_losses(path: Path) -> list[Row]:
    """The rows of a file, steps rising; without a row that a killed run left half written.

    Empty if there is no such file, or if it is another's.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return []
    lines = text.split("\n")
    if lines[0] != _HEADER:
        return []
    rows: dict[float, Row] = {}
    for fields in csv.reader(io.StringIO("\n".join(lines[1:-1]))):  # the last one ends the file
        with suppress(ValueError):
            row = tuple(float(field) for field in fields)
            if len(row) == len(COLUMNS):
                rows[row[0]] = row
    return [rows[step] for step in sorted(rows)]


def _line(row: Row) -> str:
    # Nine digits give back every float32.
    return ",".join(f"{value:.9g}" for value in row)


def _first_line(path: Path) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.readline(200).rstrip("\n")
    except (OSError, ValueError):
        return ""
