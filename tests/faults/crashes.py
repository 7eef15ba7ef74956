"""SIGKILL at random moments of runs and sweeps, which are then started again until all is done."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from pathlib import Path

from tests.faults import children
from tests.faults.folders import Result, damaged, differences, leftovers, result_of
from tests.faults.outcome import Outcome, part

# Steps enough to be hit in; a checkpoint behind each, so that a kill may hit its writing.
LONG = ["steps=24", "logging.image_every=5", "trainer.checkpoint_minutes=1e-6"]
RUNS = {
    "content": [],
    "noise": ["init=noise", "optimizer.history=5"],
    "pixels": ["optimizer.parametrization.kind=pixels", "optimizer.line_search=none"],
    "adam": ["optimizer=adam", "resolution.averaging=0.9"],
    "pyramid": ["resolution.pyramid=true", "resolution.sizes=[24,32,48]"],
    "adam-pyramid": ["optimizer=adam", "resolution.pyramid=true", "resolution.sizes=[32,48]"],
}
SWEEP = ["seed=1,2,3", "init=noise", "steps=8"]
KILLS = 100
OF_SWEEPS = 0.3
MOST = 5  # kills of one run before it is left alone


def torture(share: float, folder: Path) -> Outcome:
    """See the module."""
    children.prepare()
    outcome = Outcome("SIGKILL in a run or sweep", "files whole, and the same bytes in the end")
    chance = random.Random(0)
    other = _other_file_system(folder)
    kills, trial, again = part(KILLS, share), 0, 0
    wholes: dict[str, tuple[dict[str, Result], float]] = {}
    while outcome.tried < kills:
        sweep = chance.random() < OF_SWEEPS
        name = "sweep" if sweep else chance.choice(sorted(RUNS))
        command = command_of(name)
        if name not in wholes:
            begun = time.monotonic()
            place = folder / f"whole-{name}"
            child = children.run([*command, f"out={place}"], folder / f"whole-{name}.txt")
            if child.code != 0:
                outcome.expect(False, f"{name}: ends with {child.code}: {child.text()[-300:]}")
                return outcome
            wholes[name] = results(place), time.monotonic() - begun
        whole, seconds = wholes[name]
        place, text = folder / f"{trial:03d}-{name}", folder / "killed.txt"
        temporary = other if trial % 2 and other else folder
        done = 0
        for _ in range(MOST if outcome.tried < kills else 0):
            child = children.start(
                [*command, f"out={place}"], text, environment={"TMPDIR": str(temporary)}
            )
            time.sleep(chance.uniform(0.0, 1.0) * seconds)
            child.send(signal.SIGKILL)
            child.wait()
            if child.code != -signal.SIGKILL:  # it was faster
                break
            done += 1
            if found := damaged(place):
                outcome.failures.append(f"{name}, kill {done} of trial {trial}: damaged {found}")
        again += done
        child = children.run([*command, f"out={place}"], text)
        where = f"{name}, trial {trial} after {done} kills"
        problems = _problems(child, place, whole)
        for _ in range(done):
            outcome.expect(not problems, f"{where}: {'; '.join(problems)}")
        trial += 1
    if other is not None:
        with_other = sorted(path.name for path in other.iterdir() if path.name.startswith("tmp"))
        outcome.expect(not with_other, f"left in the temporary folder: {with_other}")
        outcome.tried -= 1
        other.rmdir()
    outcome.notes.append(f"{trial} runs and sweeps")
    outcome.notes.append(
        "half of them with TMPDIR on another file system"
        if other is not None
        else "there is no second file system here"
    )
    return outcome


def command_of(name: str) -> list[str]:
    """The command of one of RUNS, or of the sweep."""
    if name == "sweep":
        return ["-m", *children.TINY, *LONG, *SWEEP]
    return [*children.TINY, *LONG, *RUNS[name]]


def results(place: Path) -> dict[str, Result]:
    """Of the run in ``place``, or of each job of the sweep there."""
    if (place / "result.json").exists():
        return {"": result_of(place)}
    return {path.parent.name: result_of(path.parent) for path in place.glob("*/result.json")}


def _problems(child: children.Child, place: Path, whole: dict[str, Result]) -> list[str]:
    text = child.text()
    if child.code != 0 or "Traceback" in text:
        return [f"the same command ends with {child.code}: {text[-300:]}"]
    found = results(place)
    problems = [f"temporary files {names}"] if (names := leftovers(place)) else []
    if sorted(found) != sorted(whole):
        return [*problems, f"jobs {sorted(found)}"]
    for job, wanted in whole.items():
        if names := differences(found[job], wanted):
            problems.append(f"{job} differs in {names}")
    return problems


def _other_file_system(folder: Path) -> Path | None:
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK) or shared.stat().st_dev == folder.stat().st_dev:
        return None
    return Path(tempfile.mkdtemp(dir=shared, prefix="torture-"))
