"""Sweeps with jobs that fail and diverge, that are killed, started twice, and started again."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.faults.commands import TINY, Command, import_all, run, start
from tests.faults.folders import TEMPORARY, compare, damaged, results_of
from tests.faults.outcome import Outcome, part

ROUNDS = 4
DONE, FAILED = 3, 9  # for each of three seeds: a damaged image twice, and one that diverges
Jobs = dict[str, dict[str, Any]]


def inject(scale: float, folder: Path) -> Outcome:
    """Kill a sweep ROUNDS times, then do every one of SPECIAL."""
    import_all()
    outcome = Outcome(
        "sweeps of 12 jobs of which 9 fail: killed and started again, two at once, two workers",
        "all other jobs done, a table, exit code 1, no job done twice, the same bytes",
    )
    arguments, output, whole = _arguments(folder), folder / "output.txt", folder / "whole"
    begun = time.monotonic()
    command = run([*arguments, f"out={whole}"], output)
    seconds = time.monotonic() - begun
    outcome.expect("undisturbed", _ended(command, whole))
    wanted = results_of(whole)
    chance = random.Random(3)
    for trial in range(part(ROUNDS, scale)):
        place = folder / f"killed-{trial}"
        problems: list[str] = []
        before: dict[str, int] = {}
        for _ in range(3):
            command = start([*arguments, f"out={place}"], output)
            time.sleep(chance.uniform(0.1, 0.9) * seconds)
            command.send(signal.SIGKILL)
            command.wait()
            problems += damaged(place)
            before = _done(place)
        problems += _ended(run([*arguments, f"out={place}"], output), place)
        problems += _same(place, wanted) + _done_twice(place, before)
        outcome.expect(f"killed three times, {trial}", problems)
    for special in SPECIAL if scale >= 1 else ():
        place = folder / special.__name__
        place.mkdir()
        outcome.expect(special.__doc__, special(arguments, place, wanted))
    return outcome


def _arguments(folder: Path) -> list[str]:
    values = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    good, cut = folder / "good.png", folder / "cut.png"
    Image.fromarray(values).resize((64, 48), Image.Resampling.BICUBIC).save(good)
    cut.write_bytes(good.read_bytes()[:-200])
    return [
        "-m",
        *TINY[1:],
        f"content={good},{cut}",
        "init=noise",
        "optimizer.line_search=none",
        "optimizer.max_restarts=0",
        "optimizer.lr=0.5,1e30",
        "seed=1,2,3",
        "steps=8",
        "trainer.checkpoint_minutes=1e-6",
    ]


def _ended(command: Command, place: Path) -> list[str]:
    """Return what is wrong with a whole sweep."""
    problems = command.wrong(1, f"{DONE} jobs done, {FAILED} failed")
    states = Counter(result["status"] for result in results_of(place).values())
    if states != {"done": DONE, "failed": FAILED}:
        problems.append(f"jobs {dict(states)}")
    listed = sum("failed" in line.split() for line in command.text.splitlines())
    if listed < FAILED:
        problems.append(f"the table lists {listed} failed jobs")
    problems += [
        f"no {name}"
        for name in ("sheet*.png", "results.csv", "report.html")
        if not list(place.glob(name))
    ]
    return problems + damaged(place)


def _same(place: Path, wanted: Jobs) -> list[str]:
    """Return the finished jobs that differ; a failed one may have failed at another moment."""
    found = results_of(place)
    problems = [f"temporary file {path.name}" for path in place.rglob(TEMPORARY)]
    done = {job: result for job, result in wanted.items() if result["status"] == "done"}
    for job, result in done.items():
        if result != found.get(job):
            problems += compare(place / job, {"": result})
    return problems


def _done(place: Path) -> dict[str, int]:
    """Return when each finished job was finished, from its image."""
    return {
        path.parent.name: path.with_name("image.png").stat().st_mtime_ns
        for path in place.glob("*/result.json")
        if json.loads(path.read_text(encoding="utf-8"))["status"] == "done"
    }


def _done_twice(place: Path, before: dict[str, int]) -> list[str]:
    now = _done(place)
    return [f"{job} was done twice" for job, moment in before.items() if now.get(job) != moment]


def _two_at_once(arguments: list[str], place: Path, wanted: Jobs) -> list[str]:
    """two commands at once in one folder"""
    first = start([*arguments, f"out={place}/out"], place / "first.txt")
    while first.code is None and not list(place.glob("out/*/result.json")):
        time.sleep(0.005)
    problems = run([*arguments, f"out={place}/out"], place / "second.txt").wrong(
        2, "another process"
    )
    return problems + _ended(first.wait(), place / "out") + _same(place / "out", wanted)


def _fail_fast(arguments: list[str], place: Path, wanted: Jobs) -> list[str]:
    """fail_fast=true"""
    command = run([*arguments, f"out={place}/out", "fail_fast=true"], place / "output.txt")
    failed = [r for r in results_of(place / "out").values() if r["status"] == "failed"]
    return command.wrong(1) + ([] if len(failed) == 1 else [f"{len(failed)} failed"])


def _two_workers(arguments: list[str], place: Path, wanted: Jobs) -> list[str]:
    """two workers of joblib"""
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    command = run([*arguments, *launcher, f"out={place}/out"], place / "output.txt", 240.0)
    return _ended(command, place / "out") + _same(place / "out", wanted)


def _grown(arguments: list[str], place: Path, wanted: Jobs) -> list[str]:
    """a smaller grid first"""
    smaller = ["seed=1" if text == "seed=1,2,3" else text for text in arguments]
    run([*smaller, f"out={place}/out"], place / "output.txt")
    before = _done(place / "out")
    command = run([*arguments, f"out={place}/out"], place / "output.txt")
    problems = command.wrong(1, f"{DONE} jobs done, {FAILED} failed")
    return problems + _done_twice(place / "out", before) + ([] if before else ["none done first"])


SPECIAL: list[Callable[[list[str], Path, Jobs], list[str]]] = [
    _two_at_once,
    _fail_fast,
    _two_workers,
    _grown,
]
