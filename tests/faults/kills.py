"""SIGKILL at random moments of runs and sweeps; then the same command until all is done."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

from tests.faults.commands import TINY, import_all, run, start
from tests.faults.folders import compare, damaged, results_of
from tests.faults.outcome import Outcome, part

# Steps enough to be hit, and a checkpoint after each, so that a kill may hit its writing.
LONG = [*TINY, "steps=24", "logging.image_every=5", "trainer.checkpoint_minutes=1e-6"]
RUNS = {
    "content": LONG,
    "noise": [*LONG, "init=noise", "optimizer.history=5"],
    "pixels": [*LONG, "optimizer.parametrization.kind=pixels", "optimizer.line_search=none"],
    "adam": [*LONG, "optimizer=adam", "resolution.averaging=0.9"],
    "pyramid": [*LONG, "resolution.pyramid=true", "resolution.sizes=[24,32,48]"],
    "sweep": ["-m", *LONG, "seed=1,2,3", "init=noise", "steps=8"],
}
KILLS = 100


@cache
def undisturbed(name: str, folder: Path) -> tuple[dict[str, dict[str, Any]], float]:
    """Do one of RUNS undisturbed: its results and its seconds."""
    begun = time.monotonic()
    command = run([*RUNS[name], f"out={folder}/whole-{name}"], folder / "whole.txt")
    assert command.code == 0, command.text
    return results_of(folder / f"whole-{name}"), time.monotonic() - begun


def inject(scale: float, folder: Path) -> Outcome:
    """Kill each run up to five times, then let it end."""
    import_all()
    outcome = Outcome("SIGKILL in a run or sweep", "files complete; the same bytes in the end")
    chance = random.Random(0)
    other = _other_file_system(folder)
    trial, output = 0, folder / "killed.txt"
    while outcome.tried < part(KILLS, scale):
        name = chance.choice(list(RUNS))
        wanted, seconds = undisturbed(name, folder)
        place = folder / f"{trial}-{name}"
        arguments = [*RUNS[name], f"out={place}"]
        temporary = {"TMPDIR": str(other if trial % 2 else folder)}
        problems: list[str] = []
        kills = 0
        for _ in range(5):
            command = start(arguments, output, environment=temporary)
            time.sleep(chance.uniform(0.0, 1.0) * seconds)
            command.send(signal.SIGKILL)
            if command.wait().code != -signal.SIGKILL:  # it was faster
                break
            kills += 1
            problems += damaged(place)
        problems += run(arguments, output).wrong(0) or compare(place, wanted)
        for _ in range(kills):
            outcome.expect(f"{name}, trial {trial}, {kills} kills", problems)
        trial += 1
    left = [path.name for path in other.glob("tmp*")] if other != folder else []
    if left:
        outcome.failures.append(f"left in the temporary folder: {left}")
    outcome.notes.append(f"{trial} runs and sweeps, half of them with TMPDIR on {_kind(other)}")
    return outcome


def _other_file_system(folder: Path) -> Path:
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK) or shared.stat().st_dev == folder.stat().st_dev:
        return folder
    return Path(tempfile.mkdtemp(dir=shared, prefix="faults-"))


def _kind(folder: Path) -> str:
    return "another file system" if folder.is_relative_to("/dev/shm") else "the same file system"
