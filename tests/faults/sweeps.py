"""Sweeps with jobs that fail and diverge, that are killed, started twice, and started again."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.faults import children
from tests.faults.crashes import results
from tests.faults.folders import damaged, differences, leftovers
from tests.faults.outcome import Outcome, part

ROUNDS = 6
DONE, FAILED = 3, 9  # for each of three seeds: a damaged picture twice, and one that diverges


def torture(share: float, folder: Path) -> Outcome:
    """See the module."""
    children.prepare()
    outcome = Outcome(
        "sweeps of 12 jobs with 9 that fail, killed and started again; two at once; both launchers",
        "all other jobs done, a table, exit code 1, no job done twice, the same bytes",
    )
    pictures = _pictures(folder)
    whole = folder / "whole"
    command = _command(pictures)
    begun = time.monotonic()
    child = children.run([*command, f"out={whole}"], folder / "text")
    seconds = time.monotonic() - begun
    problems = _ended(child, whole)
    outcome.expect(not problems, f"nobody kills it: {'; '.join(problems)}")
    chance = random.Random(3)
    for trial in range(part(ROUNDS, share)):
        place = folder / f"killed-{trial}"
        problems = _killed(command, place, chance, seconds, whole)
        outcome.expect(not problems, f"killed, {trial}: {'; '.join(problems)}")
    for name, special in (SPECIAL if share >= 1 else {}).items():
        place = folder / name.replace(" ", "-")
        place.mkdir()
        problems = special(command, place, whole)
        outcome.expect(not problems, f"{name}: {'; '.join(problems)}")
    return outcome


def _pictures(folder: Path) -> dict[str, Path]:
    values = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    good, cut = folder / "good.png", folder / "cut.png"
    Image.fromarray(values).resize((64, 48), Image.Resampling.BICUBIC).save(good)
    cut.write_bytes(good.read_bytes()[:-200])
    return {"good": good, "cut": cut}


def _command(pictures: dict[str, Path]) -> list[str]:
    quiet = [text for text in children.TINY if not text.startswith("content=")]
    return [
        "-m",
        *quiet,
        f"content={pictures['good']},{pictures['cut']}",
        "init=noise",
        "optimizer.line_search=none",
        "optimizer.max_restarts=0",
        "optimizer.lr=0.5,1e30",
        "seed=1,2,3",
        "steps=8",
        "trainer.checkpoint_minutes=1e-6",
    ]


def _ended(child: children.Child, place: Path) -> list[str]:
    """What is wrong with the end of a whole sweep."""
    text = child.text()
    problems = []
    if child.code != 1 or "Traceback" in text:
        problems.append(f"exit code {child.code}: {text[-500:]}")
    states = Counter(result.status for result in results(place).values())
    # A grid that has grown keeps folders of failed jobs that it could not recognize.
    if states["done"] != DONE or states["failed"] < FAILED or set(states) > {"done", "failed"}:
        problems.append(f"jobs {dict(states)}")
    if f"{DONE} jobs done, {FAILED} failed" not in text:
        problems.append(f"no summary: {text[-300:]}")
    listed = sum(line.split()[:1] == ["failed"] or " failed" in line for line in text.splitlines())
    if listed < FAILED:
        problems.append(f"the table lists {listed} failed jobs")
    for name in ("sheet*.png", "results.csv", "report.html"):
        if not list(place.glob(name)):
            problems.append(f"no {name}")
    return problems + damaged(place) + leftovers(place)


def _compare(place: Path, whole: Path) -> list[str]:
    found, wanted = results(place), results(whole)
    if sorted(found) != sorted(wanted):
        return [f"jobs {sorted(found)}"]
    good = [job for job, result in wanted.items() if result.status == "done"]
    return [f"{job} differs in {d}" for job in good if (d := differences(found[job], wanted[job]))]


def _done(place: Path) -> dict[str, int]:
    """When each finished job of the sweep was finished, by its picture."""
    return {
        path.parent.name: (path.parent / "image.png").stat().st_mtime_ns
        for path in place.glob("*/result.json")
        if json.loads(path.read_text(encoding="utf-8"))["status"] == "done"
    }


def _killed(
    command: list[str], place: Path, chance: random.Random, seconds: float, whole: Path
) -> list[str]:
    """Killed up to three times, then left alone."""
    problems: list[str] = []
    text = place.with_name("text")
    before: dict[str, int] = {}
    for _ in range(3):
        child = children.start([*command, f"out={place}"], text)
        time.sleep(chance.uniform(0.1, 0.9) * seconds)
        child.send(signal.SIGKILL)
        child.wait()
        problems += damaged(place) if place.exists() else []
        before = _done(place)
    child = children.run([*command, f"out={place}"], text)
    problems += _ended(child, place) + _compare(place, whole)
    now = _done(place)
    problems += [f"{job} was done twice" for job, at in before.items() if now[job] != at]
    return problems


def _twice_at_once(command: list[str], place: Path, whole: Path) -> list[str]:
    first = children.start([*command, f"out={place}/out"], place / "first")
    while first.poll() is None and not list(place.glob("out/*/result.json")):
        time.sleep(0.005)
    second = children.run([*command, f"out={place}/out"], place / "second")
    first.wait()
    problems = _ended(first, place / "out") + _compare(place / "out", whole)
    if second.code != 2 or "another process" not in second.text():
        problems.append(f"the second ends with {second.code}: {second.text()[-300:]}")
    return problems


def _fails_fast(command: list[str], place: Path, whole: Path) -> list[str]:
    child = children.run([*command, f"out={place}/out", "fail_fast=true"], place / "text")
    states = Counter(result.status for result in results(place / "out").values())
    ok = child.code == 1 and "Traceback" not in child.text() and states["failed"] == 1
    return [] if ok else [f"exit code {child.code}, {dict(states)}: {child.text()[-300:]}"]


def _side_by_side(command: list[str], place: Path, whole: Path) -> list[str]:
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    child = children.run([*command, *launcher, f"out={place}/out"], place / "text", 240.0)
    return _ended(child, place / "out") + _compare(place / "out", whole)


def _grown(command: list[str], place: Path, whole: Path) -> list[str]:
    """A smaller grid first, then the whole: no job is done twice."""
    smaller = ["seed=1" if text == "seed=1,2,3" else text for text in command]
    children.run([*smaller, f"out={place}/out"], place / "text")
    before = _done(place / "out")
    child = children.run([*command, f"out={place}/out"], place / "text")
    now = _done(place / "out")
    problems = _ended(child, place / "out")
    if len(before) != 1 or any(now[job] != at for job, at in before.items()):
        problems.append(f"{len(before)} jobs before, or one of them done again")
    return problems


SPECIAL: dict[str, Callable[[list[str], Path, Path], list[str]]] = {
    "two at once": _twice_at_once,
    "fail_fast": _fails_fast,
    "two workers": _side_by_side,
    "grown": _grown,
}
