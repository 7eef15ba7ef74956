"""The long run: ``python -m tests.faults [BLOCK...] [--scale 0.05]`` prints a table.

The exit code is 1 if a promise of docs/reliability.md was broken.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: forked processes share the cores

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.faults import fresh_processes
from tests.faults.outcome import inject

# Long ones first, so that the two processes end at about the same time.
BLOCKS = (
    "kills",
    "signals",
    "sweeps",
    "resumes",
    "weights",
    "disks",
    "divergences",
    "settings",
    "threads",
    "images",
)


def main() -> int:
    """Do the blocks, two at a time, and print the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("blocks", nargs="*", choices=[[], *BLOCKS], metavar="BLOCK")
    parser.add_argument("--scale", type=float, default=1.0, help="of the trials of each block")
    arguments = parser.parse_args()
    blocks, rows, failed = arguments.blocks or BLOCKS, [], False
    with ProcessPoolExecutor(2, fresh_processes(), max_tasks_per_child=1) as pool:
        found = pool.map(partial(inject, arguments.scale), blocks)
        for block, (outcome, seconds) in zip(blocks, found, strict=True):
            rows.append(outcome.row(seconds))
            failed = failed or bool(outcome.failures)
            print(f"{block}: {len(outcome.failures)} of {outcome.tried} failed, {seconds:.0f} s")
            for failure in outcome.failures[:20]:
                print(f"    {failure}", flush=True)
    print("\n| what was done | trials | each must end in | as promised | seconds | |")
    print("|---|--:|---|--:|--:|---|", *rows, sep="\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
