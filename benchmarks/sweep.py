"""What a job of a sweep costs beyond its optimisation: ``python benchmarks/sweep.py``.

Real sweeps on the command line, in one process each, with few and many jobs and with few and many
steps: the differences leave out the program's start, and then the steps themselves. The report at
the end of a sweep grows with its jobs and is counted as theirs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time

FEW, MANY = 2, 8  # jobs
SHORT, LONG = 1, 11  # steps


def seconds(jobs: int, steps: int, *overrides: str) -> float:
    """Of a whole sweep over ``jobs`` seeds."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "nst_exp", "-m", f"out={folder}/sweep", "size=128"]
        command += [f"steps={steps}", f"seed=range({jobs})", "logging.progress=false", *overrides]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - start


def per_job(steps: int, *overrides: str) -> float:
    """Seconds for one job more."""
    few, many = seconds(FEW, steps, *overrides), seconds(MANY, steps, *overrides)
    return (many - few) / (MANY - FEW)


def main() -> None:
    """Print a line for each kind of logging."""
    seconds(1, 1)  # fetches the weights if need be
    for words, overrides in (
        ("at the defaults", ()),
        ("logging.metrics=false", ("logging.metrics=false",)),
        ("logging=none", ("logging=none",)),
    ):
        short, long = per_job(SHORT, *overrides), per_job(LONG, *overrides)
        step = (long - short) / (LONG - SHORT)
        print(f"{words:<24} a step {step:.3f} s, a job beyond its steps {short - step:.2f} s")


if __name__ == "__main__":
    main()
