"""SIGKILL at random moments of runs and sweeps, several times for each."""

import signal
from pathlib import Path

from tests.faults.outcome import Outcome
from tests.faults.signals import interrupt

KINDS = [(signal.SIGKILL, 1, "run", 52), (signal.SIGKILL, 1, "sweep", 14)]  # about twice each


def inject(scale: float, folder: Path) -> Outcome:
    """Kill about 100 times."""
    outcome = Outcome("SIGKILL in a run or sweep", "files complete; the same bytes in the end")
    return interrupt(outcome, KINDS, scale, folder)
