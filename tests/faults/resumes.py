"""Runs that are stopped and go on, over the product of choices, and the same seed once more.

A run that went on must leave what the uninterrupted one leaves: the same bytes of pixels, the same
losses to the last bit, every step once in ``losses.csv`` and in TensorBoard.
"""

from __future__ import annotations

import csv
import itertools
import logging
import math
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import numpy as np
from omegaconf import OmegaConf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nst_exp.app.api import make_config
from nst_exp.app.console import logged_lines
from nst_exp.config.pyramid import build_levels
from nst_exp.config.schema import Config
from nst_exp.results.losses_csv import NAME as LOSSES
from nst_exp.runner.callbacks import StopBetweenSteps
from nst_exp.runner.run import Result, run
from nst_exp.utils.errors import Interrupted
from tests.faults import children
from tests.faults.outcome import Outcome, part

STEPS = 8
RUNS = 150  # pairs of runs
CHOICES: dict[str, list[str]] = {
    "start": ["init=noise", "init=content", "init=style", "init=file", "init=blend"],
    "optimizer": [
        "optimizer=lbfgs",
        "optimizer=lbfgs optimizer.history=2",
        "optimizer=lbfgs optimizer.line_search=none optimizer.lr=0.3",
        "optimizer=lbfgs optimizer.line_search=none optimizer.milestones=[2,3]",
        "optimizer=lbfgs optimizer.line_search=none optimizer.lr=1000",  # which diverges
        "optimizer=adam",
        "optimizer=adam optimizer.milestones=[1,3] optimizer.gamma=0.5",
        "optimizer=adam optimizer.clamp=true",
    ],
    "parametrization": [f"optimizer.parametrization.kind={k}" for k in ("pixels", "fourier")],
    "pyramid": [
        "resolution.pyramid=false",
        "resolution.pyramid=true resolution.sizes=[32,48]",
        "resolution.pyramid=true resolution.sizes=[24,36,48] resolution.shares=[1,2,1]",
    ],
    "averaging": ["resolution.averaging=0", "resolution.averaging=0.9"],
    "precision": [f"trainer.precision={p}" for p in ("32-true", "64-true", "bf16-mixed")],
}


def covering(count: int, seed: int = 0) -> list[list[str]]:
    """Combinations of CHOICES, one of each; their first few dozen have every pair of choices.

    Greedy: of some drawn combinations, the one with the most pairs that were not there before.
    """
    draw = random.Random(seed)
    choices = list(CHOICES.values())
    sides = itertools.combinations(range(len(choices)), 2)
    missing = {((a, x), (b, y)) for a, b in sides for x in choices[a] for y in choices[b]}
    found: list[list[str]] = []
    while len(found) < count:
        drawn = [[draw.choice(options) for options in choices] for _ in range(60)]
        best = max(drawn, key=lambda words: len(missing & _pairs(words)))
        missing -= _pairs(best)
        found.append(best)
    return found


def _pairs(words: list[str]) -> set[tuple[tuple[int, str], tuple[int, str]]]:
    return set(itertools.combinations(enumerate(words), 2))


class Killed(BaseException):
    """Ends a run between two steps with nothing saved, as SIGKILL would."""


@dataclass(frozen=True)
class Stop:
    """A run ends behind ``step`` of all its steps, with a checkpoint of the step ``saved``."""

    step: int
    saved: int  # the same one where the run is asked to stop; an earlier one where it is killed

    def __str__(self) -> str:
        return f"{self.step} with the checkpoint of {self.saved}"


@contextmanager
def stopping(stop: Stop, config: Config) -> Iterator[None]:
    """Within, a run ends so."""
    levels = build_levels(config.resolution, config.size, config.steps)
    original = StopBetweenSteps.on_train_batch_end

    def hook(self: StopBetweenSteps, trainer: Any, module: Any, *rest: Any) -> None:
        step = levels[module.level].first_step + trainer.global_step
        if step == stop.step == stop.saved:
            self.request.signal = signal.SIGINT
        elif step == stop.saved:
            trainer.save_checkpoint(self.checkpoint)
        elif step == stop.step:
            raise Killed
        original(self, trainer, module, *rest)

    with patch.object(StopBetweenSteps, "on_train_batch_end", hook):
        yield


def torture(share: float, folder: Path) -> Outcome:
    """``share`` of the combinations, each run whole, and stopped and resumed."""
    outcome = Outcome(
        "interrupted and resumed, and the same seed again: every pair of start, optimizer, "
        "parametrization, pyramid, averaging and precision",
        "the same bytes, the same losses to the last bit, every step recorded once",
    )
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of every purge
    start = folder / "start.png"
    pixels = np.random.default_rng(3).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((96, 64), Image.Resampling.BICUBIC).save(start)
    draw = random.Random(1)
    for number, choice in enumerate(covering(part(RUNS, share))):
        words = [word for option in choice for word in option.split()]
        words += [f"init.file={start}"] * ("init=file" in words)
        stops = [Stop(step := draw.randint(1, STEPS - 1), step)]
        if number % 2:
            stops = [Stop(step := draw.randint(2, STEPS), draw.randint(1, step - 1))]
        if number % 5 == 0 and stops[0].saved < STEPS - 1:
            stops.append(Stop(step := draw.randint(stops[0].saved + 1, STEPS - 1), step))
        broken = _resumed(words, stops, folder / f"{number}")
        outcome.expect(
            not broken,
            f"{' '.join(words)} stopped at {'; '.join(map(str, stops))}: {'; '.join(broken)}",
        )
    _repeated(outcome, folder, part(10, share))
    return outcome


@cache
def _composed(presets: tuple[str, ...]) -> Config:
    return make_config([*children.TINY, f"steps={STEPS}", "logging.image_every=2", *presets])


def _config(words: list[str]) -> Config:
    """As ``make_config`` makes it; Hydra is slow, and only the presets need it."""
    presets = tuple(word for word in words if "." not in word.partition("=")[0])
    rest = OmegaConf.from_dotlist([word for word in words if word not in presets])
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(_composed(presets)), rest))
    return cast(Config, config)


def _resumed(words: list[str], stops: list[Stop], folder: Path) -> list[str]:
    """What differs between a run that was stopped, once or more, and one that was not."""
    config = _config(words)
    whole = run(config, folder / "whole")
    levels = build_levels(config.resolution, config.size, config.steps)
    last = 0  # the step of the checkpoint that is there
    for stop in stops:
        if stop.step <= last:
            continue
        # Where a level of a pyramid begins, there is a checkpoint as well.
        last = max(
            stop.saved, *(n for level in levels if (n := level.first_step) < stop.step), last
        )
        with stopping(stop, config):
            try:
                run(config, folder / "stopped")
                return [f"not stopped at {stop}"]
            except (Interrupted, Killed):
                pass
    said: list[str] = []
    with logged_lines(said.append):
        resumed = run(config, folder / "stopped")
    broken = _differences(whole, resumed)
    if not any(line.startswith(f"resuming after step {last} of") for line in said):
        broken.append(f"did not go on after step {last}: {said}")
    if whole.record["warnings"] != resumed.record["warnings"]:
        broken.append(f"warned {resumed.record['warnings']}, not {whole.record['warnings']}")
    curves = [_curve(folder / name / LOSSES) for name in ("whole", "stopped")]
    if curves[0] != curves[1] or [int(row["step"]) for row in curves[1]] != [*range(1, STEPS + 1)]:
        broken.append(f"{LOSSES}: {curves[1]}, not {curves[0]}")
    points = [_points(folder / name) for name in ("whole", "stopped")]
    broken += [
        f"TensorBoard has {points[1].get(tag)} under {tag}, not {points[0].get(tag)}"
        for tag in points[0].keys() | points[1].keys()
        if points[0].get(tag) != points[1].get(tag)
    ]
    pictures = [sorted((folder / n / "snapshots").iterdir()) for n in ("whole", "stopped")]
    if [(p.name, _bytes(p)) for p in pictures[0]] != [(p.name, _bytes(p)) for p in pictures[1]]:
        broken.append(f"snapshots differ: {[p.name for p in pictures[1]]}")
    return broken


def _differences(one: Result, other: Result) -> list[str]:
    """Of two results that must be the same."""
    assert one.path is not None
    assert other.path is not None
    broken = []
    if _bytes(one.path) != _bytes(other.path):
        broken.append("other pixels")
    if one.losses != other.losses:
        broken.append(f"losses {other.losses}, not {one.losses}")
    return broken


def _bytes(path: Path) -> bytes:
    """Of the pixels; the file also holds paths and times."""
    with Image.open(path) as picture:
        return picture.tobytes()


def _curve(path: Path) -> list[dict[str, str]]:
    """The rows as they stand there, duplicates and all.

    Without the evaluations: a resumed L-BFGS evaluates the point that it stands at once more.
    """
    with open(path, encoding="utf-8", newline="") as stream:
        return [
            {name: text for name, text in row.items() if name != "evaluations"}
            for row in csv.DictReader(stream)
        ]


def _points(folder: Path) -> dict[str, list[Any]]:
    """What TensorBoard shows under every tag: steps, and the values of losses."""
    events = EventAccumulator(str(folder), {"scalars": 0, "images": 0})
    events.Reload()
    scalars = {
        # NaN keeps the place of what the end of the run fills in.
        tag: [(p.step, p.value) for p in events.Scalars(tag) if not math.isnan(p.value)]
        for tag in events.Tags()["scalars"]
        if tag != "progress/evaluations"
    }
    pictures = {
        tag: [shown.step for shown in events.Images(tag)] for tag in events.Tags()["images"]
    }
    return scalars | pictures


def _repeated(outcome: Outcome, folder: Path, count: int) -> None:
    """The same seed twice with one thread and with two, and another seed."""
    across = 0
    for number, choice in enumerate(covering(count, seed=7)):
        words = [word for option in choice for word in option.split()]
        words = ["init=noise" if word.startswith("init=") else word for word in words]
        results: dict[str, Result] = {}
        for name, extra in {
            "1 thread": ["trainer.threads=1"],
            "1 thread again": ["trainer.threads=1"],
            "2 threads": ["trainer.threads=2"],
            "2 threads again": ["trainer.threads=2"],
            "another seed": ["seed=1", "trainer.threads=1"],
        }.items():
            out = folder / f"again{number}" / name
            results[name] = run(_config([*words, *extra]), out)
        for name in ("1 thread", "2 threads"):
            broken = _differences(results[name], results[f"{name} again"])
            outcome.expect(not broken, f"{' '.join(words)}, {name}, twice: {'; '.join(broken)}")
        differ = bool(_differences(results["1 thread"], results["another seed"]))
        outcome.expect(differ, f"{' '.join(words)}: seed=1 makes the picture of seed=0")
        across += not _differences(results["1 thread"], results["2 threads"])
    outcome.notes.append(f"1 and 2 threads gave the same bytes in {across} of {count}")
