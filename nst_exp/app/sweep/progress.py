"""What a sweep shows as each job begins."""

import logging
import time

from tqdm import tqdm

log = logging.getLogger(__name__)


class SweepProgress:
    """Counts the jobs that this process runs one after the other."""

    def __init__(self, total: int | None) -> None:
        """Start the clock for so many jobs; None for a search without a limit."""
        self.total, self.started, self.finished = total, 0, 0
        self.start_time = time.monotonic()

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
