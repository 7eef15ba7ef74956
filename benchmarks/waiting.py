"""What threads that spin while they wait cost: ``python benchmarks/waiting.py``.

The same short run with one thread, with the program's setting (threads that wait soon sleep), and
with that of the OpenMP library (they spin), on an idle machine and beside two processes that
compute. Quiet the machine first. Runs take turns; times are medians, relative to one thread.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

RUN = ("content=chelsea", "style=starry_night", "logging=none", "logging.progress=false")
WAYS = {
    "one thread": {"OMP_NUM_THREADS": "1"},
    "sleeping": {},
    "spinning": {"OMP_WAIT_POLICY": "ACTIVE", "GOMP_SPINCOUNT": "300000"},  # libgomp's own
}
BUSY = "while True: pass"


def measure(overrides: list[str], variables: dict[str, str]) -> float:
    """Seconds of a run."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    command = [sys.executable, "-m", "nst_exp", *RUN, *overrides]
    start = time.monotonic()
    subprocess.run(command, env=kept | variables, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep so many processors busy."""
    running = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("overrides", nargs="*", default=["size=256", "steps=30"])
    arguments = parser.parse_args()
    for others in (0, 2):
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        with busy(others):
            for _ in range(arguments.repeats):
                for way, variables in WAYS.items():
                    times[way].append(measure(arguments.overrides, variables))
        medians = {way: statistics.median(of_way) for way, of_way in times.items()}
        one = medians["one thread"]
        print(f"beside {others} busy processes, one thread takes {one:.1f} s")
        for way, seconds in medians.items():
            print(f"  {way:12s} {seconds / one:.2f}", flush=True)


if __name__ == "__main__":
    main()
