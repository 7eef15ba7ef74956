"""Runs that are stopped or killed at given evaluations and resumed, with random choices.

A resumed run must leave what the undisturbed one leaves: the same pixels and losses to the last
bit, every step once in losses.csv and in TensorBoard.
"""

import itertools
import random
import signal
from functools import partial
from pathlib import Path

from PIL import Image

from tests.faults import TINY
from tests.faults.commands import run
from tests.faults.evaluations import Fault, inject_into_objective
from tests.faults.folders import compare, results_of
from tests.faults.outcome import Outcome, part

STEPS = 8
RUNS = 60
CHOICES = [
    ["init=noise", "init=content", "init=style", "init=file init.file=start.png", "init=blend"],
    [
        "optimizer=lbfgs",
        "optimizer=lbfgs optimizer.history=2",
        "optimizer=lbfgs optimizer.line_search=none optimizer.milestones=[2,3]",
        "optimizer=lbfgs_plain optimizer.lr=1000",  # which diverges
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


def inject(scale: float, folder: Path) -> Outcome:
    """Do each combination undisturbed, and again stopped one to three times and resumed."""
    outcome = Outcome(
        "interrupted and resumed: combinations of start, optimizer, parametrization, pyramid, "
        "averaging and precision",
        "the same bytes, the same losses to the last bit, every step recorded once",
    )
    Image.effect_noise((96, 64), 90).convert("RGB").save(folder / "start.png")
    chance = random.Random(1)
    execute = partial(run, output=folder / "output.txt", folder=folder)
    combinations = chance.sample(list(itertools.product(*CHOICES)), part(RUNS, scale))
    for number, combination in enumerate(combinations):
        words = " ".join(combination)
        arguments = [*TINY, f"steps={STEPS}", "logging.image_every=2", *words.split()]
        arguments += ["trainer.checkpoint_minutes=1e-6"] * (number % 2)
        whole, stopped = folder / f"whole-{number}", folder / f"stopped-{number}"
        problems = execute([*arguments, f"out={whole}"]).wrong(0)
        stops = []
        for _ in range(chance.randint(1, 3)):
            sent = signal.SIGKILL if number % 2 else chance.choice([signal.SIGINT, signal.SIGTERM])
            at = chance.randint(1, STEPS)
            stops.append(f"{sent.name} at evaluation {at}")
            strike = partial(inject_into_objective, Fault("signal", sent, at), folder)
            command = execute([*arguments, f"out={stopped}"], before=strike)
            if command.code not in (0, -sent if sent == signal.SIGKILL else 128 + sent):
                problems += command.wrong(128 + sent)
        problems += execute([*arguments, f"out={stopped}"]).wrong(0)
        problems += compare(stopped, results_of(whole))
        outcome.expect(f"{words}; {', '.join(stops)}", problems)
    return outcome
