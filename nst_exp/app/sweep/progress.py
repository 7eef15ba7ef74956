"""What a sweep shows while it goes on: which job begins or has ended, and one bar for all jobs."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nst_exp.app.console import show
from nst_exp.app.sweep.stops import Stops
from nst_exp.results.record import read_record
from nst_exp.results.run_folder import find_run_folders

_EVERY = 0.5  # seconds between two looks at the jobs' folders
_PATIENCE = 10.0  # seconds that jobs have to come home when they have saved all


def words_of(values: Mapping[str, str]) -> str:
    """``beta=5, style=wave``."""
    return ", ".join(f"{key}={value}" for key, value in values.items())


class _Count:
    """Jobs done of all, with the time left, and the bar that shows it."""

    def __init__(self, total: int | None, show_bar: bool) -> None:
        self.total, self.finished = total, 0
        self.start_time = time.monotonic()
        self.bar: tqdm[Any] = tqdm(
            total=total,
            disable=not (show_bar and sys.stderr.isatty()),
            unit="job",
            dynamic_ncols=True,
            bar_format="sweep {bar} {n}/{total} jobs [{elapsed} < {remaining}]",
        )

    def of_total(self, number: int) -> str:
        return f"{number} of {self.total}" if self.total else str(number)

    def left(self) -> list[str]:
        if not self.finished or self.total is None or self.finished >= self.total:
            return []
        each = (time.monotonic() - self.start_time) / self.finished
        return [f"about {tqdm.format_interval(each * (self.total - self.finished))} left"]

    def finish(self) -> None:
        self.finished += 1
        self.bar.update()

    def close(self) -> None:
        self.bar.close()


class SweepProgress:
    """For jobs that run one after the other, in this process: a line as each begins."""

    def __init__(self, total: int | None, show_bar: bool) -> None:
        """``total`` is None where a search does not say; a line per job is printed in any case."""
        self.count = _Count(total, show_bar)
        self.begun = 0

    def start(self, words: str) -> None:
        """The job that ``words`` describe begins."""
        self.begun += 1
        parts = [f"job {self.count.of_total(self.begun)}", words, *self.count.left()]
        show("; ".join(part for part in parts if part))

    def finish(self) -> None:
        """It is done."""
        self.count.finish()

    def close(self) -> None:
        """The end, or an interruption."""
        self.count.close()


class JobWatch:
    """For jobs that run elsewhere: a line as each ends, from what it leaves in its folder.

    When the sweep is to stop, and no job has anything to save any more, the launcher's waiting is
    interrupted: it may wait for jobs that have not begun, or would begin the next ones.
    """

    def __init__(
        self,
        folder: Path,
        total: int | None,
        words: Callable[[Path], str],
        show_bar: bool,
        stops: Stops,
    ) -> None:
        """``folder`` of the sweep; ``words`` describe the job in a folder."""
        self.folder, self.words, self.stops = folder, words, stops
        self.seen = self._stamps()
        self.quiet_since: float | None = None
        self.count = _Count(total, show_bar)
        self.told: set[Path] = set()  # a record is written again when the metrics are there
        self.warned: set[str] = set()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._look_again, daemon=True)
        self.thread.start()

    def _stamps(self) -> dict[Path, int]:
        found = {}
        for job in find_run_folders(self.folder):
            try:
                found[job] = (job / "result.json").stat().st_mtime_ns
            except OSError:
                found[job] = 0
        return found

    def _look_again(self) -> None:
        while not self.ended.wait(max(_EVERY, 0.01 * len(self.seen))):
            running = self.look()
            if not self.stops.wanted:
                continue
            now = time.monotonic()
            if running or self.quiet_since is None:
                self.quiet_since = now
            elif now - self.quiet_since > _PATIENCE:
                self.stops.give_up()
                return

    def look(self) -> int:
        """Show which jobs have ended since the last look; how many are running."""
        running = 0
        for job, stamp in self._stamps().items():
            if stamp == self.seen.get(job):
                continue
            record = read_record(job)
            status = record.get("status")
            if status == "running":
                running += 1
            elif status in ("done", "failed"):
                self.seen[job] = stamp  # not of a running one, which is to be counted
                if job not in self.told:
                    self.told.add(job)
                    self._tell(job, record)
        return running

    def _tell(self, job: Path, record: dict[str, Any]) -> None:
        self.count.finish()
        parts = [f"job {self.count.of_total(self.count.finished)}", self.words(job)]
        if record["status"] == "failed":
            parts.append(f"failed: {str(record.get('error')).splitlines()[0]}")
        else:
            losses = record.get("losses") or {}
            names = [name for name in ("total", "content", "style") if name in losses]
            parts.append(", ".join(f"{name} {losses[name]:.3e}" for name in names))
            parts.append(f"{record.get('seconds', 0):.0f} s")
        parts += self.count.left()
        with self.count.bar.external_write_mode():
            show("; ".join(part for part in parts if part))
            for line in record.get("warnings") or []:
                if line not in self.warned:  # most jobs have the same
                    self.warned.add(line)
                    show(f"warning: {line}")

    def close(self) -> None:
        """The end, or an interruption."""
        self.ended.set()
        self.thread.join()
        self.look()
        self.count.close()
