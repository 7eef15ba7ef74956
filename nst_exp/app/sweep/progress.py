"""What a sweep shows: a line as each job begins, and one bar for all jobs."""

import logging
import sys
import time
from typing import Any

from tqdm import tqdm

log = logging.getLogger(__name__)


class SweepProgress:
    """Counts the jobs that this process runs one after the other."""

    def __init__(self, total: int | None, show_bar: bool) -> None:
        """Start the clock.

        Args:
            total: Number of jobs; None for a search without a limit.
            show_bar: Show the bar if stderr is a terminal.
        """
        self.total, self.started, self.finished = total, 0, 0
        self.start_time = time.monotonic()
        self.bar: tqdm[Any] = tqdm(
            total=total,
            disable=not (show_bar and sys.stderr.isatty()),
            unit="job",
            dynamic_ncols=True,
            bar_format="sweep {bar} {n}/{total} jobs [{elapsed} < {remaining}]",
        )

    def start(self, values: str) -> None:
        """Log that the job with these values begins, and the time left."""
        self.started += 1
        parts = [f"job {self.started}" + (f" of {self.total}" if self.total else ""), values]
        if self.finished and self.total and self.finished < self.total:
            each = (time.monotonic() - self.start_time) / self.finished
            left = tqdm.format_interval(each * (self.total - self.finished))
            parts.append(f"about {left} left")
        log.info("; ".join(part for part in parts if part))

    def finish(self) -> None:
        """Count a job as finished."""
        self.finished += 1
        self.bar.update()

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()
