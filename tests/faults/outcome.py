"""What a block of faults has found: one row of the table."""

import importlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Outcome:
    """Counts trials and keeps what went wrong."""

    title: str
    promise: str  # how each trial must end
    tried: int = 0
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def expect(self, trial: object, problems: Sequence[str]) -> None:
        """Count a trial, which kept its promise if there are no problems."""
        self.tried += 1
        if problems:
            self.failures.append(f"{trial}: {'; '.join(problems)}")

    def row(self, seconds: float) -> str:
        """Return a row of the table in Markdown."""
        cells = [self.title, f"{self.tried:,}", self.promise]
        cells += [f"{self.tried - len(self.failures):,}", f"{seconds:.0f}", "; ".join(self.notes)]
        return f"| {' | '.join(cells)} |"


def part(full: int, scale: float) -> int:
    """Return ``scale`` of ``full`` trials, at least one."""
    return max(1, round(full * scale))


def inject(scale: float, block: str) -> tuple[Outcome, float]:
    """Do a block in a scratch folder; return what it found and its seconds."""
    module = importlib.import_module(f"tests.faults.{block}")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"faults-{block}-") as folder:
        return module.inject(scale, Path(folder)), time.monotonic() - begun
