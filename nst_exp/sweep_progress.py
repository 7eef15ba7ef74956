"""What a sweep shows while it goes on: one bar for all jobs, above the job's own."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

from nst_exp.sweep import Sweep


class SweepProgress:
    """Jobs done of jobs planned, with the time left. For jobs that run one after the other."""

    def __init__(self, sweep: Sweep, show: bool) -> None:
        """``show`` draws a bar; a line per job is printed in any case."""
        self.sweep = sweep
        self.begun = self.finished = 0
        self.start_time = time.monotonic()
        self.bar: tqdm[Any] = tqdm(
            total=len(sweep.jobs),
            disable=not (show and sys.stderr.isatty()),
            unit="job",
            dynamic_ncols=True,
            bar_format="sweep {bar} {n}/{total} jobs [{elapsed} < {remaining}]",
        )

    def start(self) -> str:
        """The line for the job that begins now."""
        job, count = self.sweep.jobs[self.begun], len(self.sweep.jobs)
        self.begun += 1
        words = [f"job {self.begun} of {count}"]
        if job.values:
            words.append(", ".join(f"{key}={value}" for key, value in job.values.items()))
        if self.finished:
            each = (time.monotonic() - self.start_time) / self.finished
            left = tqdm.format_interval(each * (count - self.finished))
            words.append(f"about {left} left")
        return "; ".join(words)

    def finish(self) -> None:
        """One job more is done."""
        self.finished += 1
        self.bar.update()

    def close(self) -> None:
        """The end, or an interruption."""
        self.bar.close()
