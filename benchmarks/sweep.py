"""What a job of a sweep costs beyond its optimization: ``python benchmarks/sweep.py``.

Sweeps of few and of many jobs in this one process, by turns, as the command line runs them. What
the optimizer's steps took is measured in each and taken off; the difference between few and many
leaves out what a sweep costs once. The report at its end grows with the jobs and is counted as
theirs.
"""

import statistics
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

from nst_exp.app.main import main as nst_exp
from nst_exp.runner.module import StyleTransfer

FEW, MANY = 2, 12  # jobs
ROUNDS = 3
KINDS = {
    "at the defaults": (),
    "logging.metrics=false": ("logging.metrics=false",),
    "logging=none": ("logging=none",),
}


class _Steps:
    """Seconds that went into the optimizer's steps."""

    def __init__(self) -> None:
        self.seconds = 0.0
        step = StyleTransfer.optimizer_step

        def timed(module: StyleTransfer, *args: Any, **kwargs: Any) -> None:
            start = time.perf_counter()
            step(module, *args, **kwargs)
            self.seconds += time.perf_counter() - start

        StyleTransfer.optimizer_step = timed  # type: ignore[assignment, method-assign]


def sweep(jobs: int, steps: _Steps, overrides: tuple[str, ...]) -> tuple[float, float]:
    """Seconds that a sweep over ``jobs`` values takes beyond its steps, and those of its steps."""
    with tempfile.TemporaryDirectory() as folder:
        sys.argv[1:] = ["-m", f"out={folder}/sweep", f"beta=range(1,{jobs + 1})", "size=128"]
        sys.argv += ["steps=4", "logging.progress=false", *overrides]
        steps.seconds = 0.0
        said = StringIO()
        start = time.perf_counter()
        with redirect_stdout(said), redirect_stderr(said):
            nst_exp()
        return time.perf_counter() - start - steps.seconds, steps.seconds


def main() -> None:
    """Print a line for each kind of logging."""
    steps = _Steps()
    sweep(FEW, steps, ())  # imports, reads the weights, and fetches them if need be
    for words, overrides in KINDS.items():
        costs, taken = [], []
        for _ in range(ROUNDS):
            few, many = sweep(FEW, steps, overrides), sweep(MANY, steps, overrides)
            costs.append((many[0] - few[0]) / (MANY - FEW))
            taken.append(many[1] / MANY)
        cost, its_steps = statistics.median(costs), statistics.median(taken)
        print(f"{words:<24} a job beyond its steps {cost:.2f} s; 4 steps {its_steps:.2f} s")


if __name__ == "__main__":
    main()
