"""Two calls of ``stylize()`` in two threads of one process, which begin within 0.6 seconds.

Each must return what it returns alone. POSIX only.
"""

import multiprocessing
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import nst_exp
import nst_exp.app.api  # imported once, before the processes are forked
from tests.faults import TINY
from tests.faults.outcome import Outcome, part

PAIRS = 40
LONGEST_GAP = 0.6  # seconds; a first call takes about twice as long
CALLS = (
    "beta=1",
    "beta=50",
    "seed=1",  # of the random weights
    "seed=2 optimizer=adam",
    "size=64",
    "resolution=pyramid resolution.min_size=32 size=64",
    "backbone=vgg11",
    "loss.style.layers=[relu1]",
)


def inject(scale: float, folder: Path) -> Outcome:
    """Make pairs of calls, each pair in a fresh process, with and without an earlier call."""
    outcome = Outcome(
        "two calls of `stylize()` in two threads, 0 to 0.6 s apart, of the same or of different "
        "settings, in a process with and without an earlier call",
        "both images as from a call alone, to the last bit",
    )
    chance = random.Random(1)
    for number in range(part(PAIRS, scale)):
        gap = LONGEST_GAP * number / PAIRS
        pair = [chance.choice(CALLS) for _ in range(2)]
        earlier = [chance.choice(CALLS)] * (number % 2)
        found = in_fresh_process(pair, gap, earlier)
        problems = [
            f"{call}: {value[:200]}"
            for call, value in zip(pair, found, strict=True)
            if value != alone(call)
        ]
        outcome.expect(f"{' | '.join(pair)}, {gap:.2f} s apart, earlier: {earlier}", problems)
    return outcome


@cache
def alone(call: str) -> str:
    """Return the pixels that a call makes alone in a fresh process."""
    (pixels,) = in_fresh_process([call], 0.0, [])
    return pixels


def in_fresh_process(calls: Sequence[str], gap: float, earlier: Sequence[str]) -> list[str]:
    """Do ``in_threads`` in a process that has made no call before."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply_async(in_threads, (calls, gap, earlier)).get(timeout=120)


def in_threads(calls: Sequence[str], gap: float, earlier: Sequence[str]) -> list[str]:
    """Make each call in a thread, ``gap`` seconds after the one before; return the pixels."""
    for call in earlier:
        _pixels(call)
    with ThreadPoolExecutor(len(calls)) as pool:
        made = []
        for call in calls:
            made.append(pool.submit(_pixels, call))
            time.sleep(gap)
        return [future.result() for future in made]


def _pixels(call: str) -> str:
    try:
        return nst_exp.stylize(overrides=[*TINY, *call.split()]).image.tobytes().hex()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
