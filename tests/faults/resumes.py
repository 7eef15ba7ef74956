"""Runs that are stopped or killed at a given evaluation and resumed, over the product of choices.

A resumed run must leave what the undisturbed one leaves: the same pixels and losses to the last
bit, every step once in losses.csv and in TensorBoard.
"""

from __future__ import annotations

import itertools
import random
import signal
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from tests.faults.commands import TINY, import_all, run
from tests.faults.evaluations import Fault, inject_into_objective
from tests.faults.folders import compare, results_of
from tests.faults.outcome import Outcome, part

STEPS = 8
RUNS = 60
CHOICES: list[list[str]] = [
    ["init=noise", "init=content", "init=style", "init=file", "init=blend"],
    [
        "optimizer=lbfgs",
        "optimizer=lbfgs optimizer.history=2",
        "optimizer=lbfgs optimizer.line_search=none optimizer.milestones=[2,3]",
        "optimizer=lbfgs optimizer.line_search=none optimizer.lr=1000",  # which diverges
        "optimizer=adam optimizer.clamp=true",
        "optimizer=adam optimizer.milestones=[1,3] optimizer.gamma=0.5",
    ],
    [f"optimizer.parametrization.kind={kind}" for kind in ("pixels", "fourier")],
    [
        "resolution.pyramid=false",
        "resolution.pyramid=true resolution.sizes=[32,48]",
        "resolution.pyramid=true resolution.sizes=[24,36,48] resolution.shares=[1,2,1]",
    ],
    ["resolution.averaging=0", "resolution.averaging=0.9"],
    [f"trainer.precision={precision}" for precision in ("32-true", "64-true", "bf16-mixed")],
]


def combinations(count: int) -> list[tuple[str, ...]]:
    """Return combinations of CHOICES; greedily, so that the first few dozen have every pair."""
    chance = random.Random(0)
    missing = {
        pair
        for one, other in itertools.combinations(CHOICES, 2)
        for pair in itertools.product(one, other)
    }
    found: list[tuple[str, ...]] = []
    while len(found) < count:
        drawn = [tuple(map(chance.choice, CHOICES)) for _ in range(60)]
        best = max(drawn, key=lambda words: len(missing & {*itertools.combinations(words, 2)}))
        missing -= {*itertools.combinations(best, 2)}
        found.append(best)
    return found


def inject(scale: float, folder: Path) -> Outcome:
    """Do each combination twice undisturbed, and once stopped one to three times and resumed."""
    import_all()
    outcome = Outcome(
        "interrupted and resumed, and done again: pairs of start, optimizer, parametrization, "
        "pyramid, averaging and precision",
        "the same bytes, the same losses to the last bit, every step recorded once",
    )
    start = folder / "start.png"
    pixels = np.random.default_rng(3).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((96, 64), Image.Resampling.BICUBIC).save(start)
    chance = random.Random(1)
    output = folder / "output.txt"
    for number, combination in enumerate(combinations(part(RUNS, scale))):
        words = [word for choice in combination for word in choice.split()]
        words += [f"init.file={start}"] * ("init=file" in words)
        arguments = [*TINY, f"steps={STEPS}", "logging.image_every=2", *words]
        arguments += ["trainer.checkpoint_minutes=1e-6"] * (number % 2)
        whole, again, stopped = (folder / f"{name}-{number}" for name in ("whole", "again", "stop"))
        problems = run([*arguments, f"out={whole}"], output).wrong(0)
        wanted = results_of(whole)
        if number % 3 == 0:
            problems += run([*arguments, f"out={again}"], output).wrong(0) or compare(again, wanted)
        stops = []
        for _ in range(chance.randint(1, 3)):
            sent = signal.SIGKILL if number % 2 else chance.choice([signal.SIGINT, signal.SIGTERM])
            at = chance.randint(1, STEPS)
            stops.append(f"{sent.name} at evaluation {at}")
            strike = partial(inject_into_objective, Fault("signal", sent, at), folder)
            command = run([*arguments, f"out={stopped}"], output, before=strike)
            allowed = {0, -sent if sent == signal.SIGKILL else 128 + sent}
            if command.code not in allowed:
                problems += command.wrong(128 + sent)
        problems += run([*arguments, f"out={stopped}"], output).wrong(0)
        outcome.expect(
            f"{' '.join(words)}; {', '.join(stops)}", problems or compare(stopped, wanted)
        )
    return outcome
