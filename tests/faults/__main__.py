"""Everything that can go wrong, many times over: ``python -m tests.faults``.

Damaged pictures, wrong settings, faulty servers, killed processes, full disks and diverging losses
are given to the program, and what it makes of them is compared with what it promises
(docs/reliability.md). Prints a table; the exit code is 1 if one promise was broken.

    python -m tests.faults --share 0.05          a twentieth of the trials, in about a minute
    python -m tests.faults --only images crashes
    python -m tests.faults --markdown table.md   also as a table for a document
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: children are forked, and share the cores

import argparse
import importlib
import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path

from tests.faults.outcome import Outcome

# Long ones first, so that the two processes end at about the same time.
BLOCKS = (
    "crashes",
    "sweeps",
    "fuzz",
    "numbers",
    "signals",
    "disks",
    "weights",
    "settings",
    "typos",
    "images",
    "resumes",
)


def torture(block: str, share: float) -> tuple[Outcome, float]:
    """One block, in a scratch folder of its own; what it found and the seconds it took."""
    module = importlib.import_module(f"tests.faults.{block}")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"torture-{block}-") as folder:
        outcome: Outcome = module.torture(share, Path(folder))
    return outcome, time.monotonic() - begun


def table(results: dict[str, tuple[Outcome, float]]) -> str:
    """A table in Markdown."""
    rows = [
        "| what was done | trials | each must end in | as promised | seconds | |",
        "|---|--:|---|--:|--:|---|",
    ]
    for outcome, seconds in results.values():
        rows.append(
            f"| {outcome.title} | {outcome.tried:,} | {outcome.promise} | {outcome.kept:,} "
            f"| {seconds:.0f} | {'; '.join(outcome.notes)} |"
        )
    tried = sum(outcome.tried for outcome, _ in results.values())
    kept = sum(outcome.kept for outcome, _ in results.values())
    rows.append(f"| **all** | **{tried:,}** | | **{kept:,}** | | |")
    return "\n".join(rows)


def main() -> int:
    """Run the blocks, two at a time; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=BLOCKS, default=list(BLOCKS))
    parser.add_argument("--share", type=float, default=1.0, help="of the trials of each block")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--markdown", type=Path, help="write the table into this file too")
    arguments = parser.parse_args()
    begun = time.monotonic()
    results: dict[str, tuple[Outcome, float]] = {}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.processes, spawn, max_tasks_per_child=1) as pool:
        waiting: dict[Future[tuple[Outcome, float]], str] = {
            pool.submit(torture, block, arguments.share): block
            for block in BLOCKS
            if block in arguments.only
        }
        for future in as_completed(waiting):
            block = waiting[future]
            outcome, seconds = results[block] = future.result()
            print(f"{block}: {outcome.kept} of {outcome.tried} as promised, {seconds:.0f} s")
            for failure in outcome.failures[:20]:
                print(f"    {failure}")
            sys.stdout.flush()
    ordered = {block: results[block] for block in BLOCKS if block in results}
    text = table(ordered)
    print(f"\n{text}\n\n{time.monotonic() - begun:.0f} s in all")
    if arguments.markdown:
        arguments.markdown.write_text(text + "\n", encoding="utf-8")
    return 1 if any(outcome.failures for outcome, _ in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
