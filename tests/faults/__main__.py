"""The long run: ``python -m tests.faults [BLOCK...] [--scale 0.05]``.

Each block injects one kind of fault. Prints a table; the exit code is 1 if a promise of
docs/reliability.md was broken.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: forked processes share the cores

import argparse
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.faults.outcome import inject_block

# Long ones first, so that the two processes end at about the same time.
BLOCKS = (
    "kills",
    "sweeps",
    "signals",
    "weights",
    "resumes",
    "numbers",
    "disks",
    "settings",
    "images",
)
HEAD = """\
| what was done | trials | each must end in | as promised | seconds | |
|---|--:|---|--:|--:|---|"""


def main() -> int:
    """Do the blocks, two at a time, and print the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("blocks", nargs="*", metavar="BLOCK", help=f"of {', '.join(BLOCKS)}")
    parser.add_argument("--scale", type=float, default=1.0, help="of the trials of each block")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    blocks = arguments.blocks or list(BLOCKS)
    if unknown := set(blocks) - set(BLOCKS):
        parser.error(f"no such block: {', '.join(sorted(unknown))}")
    begun = time.monotonic()
    rows: dict[str, str] = {}
    failed = False
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.processes, spawn, max_tasks_per_child=1) as pool:
        waiting = {pool.submit(inject_block, block, arguments.scale): block for block in blocks}
        for future in as_completed(waiting):
            outcome, seconds = future.result()
            block = waiting[future]
            rows[block] = outcome.row(seconds)
            failed = failed or bool(outcome.failures)
            print(f"{block}: {len(outcome.failures)} of {outcome.tried} failed, {seconds:.0f} s")
            print("".join(f"    {failure}\n" for failure in outcome.failures[:20]), end="")
            sys.stdout.flush()
    print("\n".join(["", HEAD, *(rows[block] for block in BLOCKS if block in rows)]))
    print(f"\n{time.monotonic() - begun:.0f} s in all")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
