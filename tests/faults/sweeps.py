"""Sweeps with jobs that fail and diverge, that are killed, started twice, and started again."""

import random
import signal
import time
from collections import Counter
from pathlib import Path

from PIL import Image

from tests.faults import TINY
from tests.faults.commands import Command, run, start
from tests.faults.folders import Results, damaged, differences, results_of
from tests.faults.outcome import Outcome, part

ROUNDS = 4
SEEDS = KILLS = 3


def inject(scale: float, folder: Path) -> Outcome:
    """Kill a sweep ROUNDS times, then try every one of SPECIAL."""
    outcome = Outcome(
        "sweeps of 12 jobs of which 9 fail: killed and started again, two at once, two workers",
        "all other jobs done, a table, exit code 1, no job done twice, the same bytes",
    )
    good, cut, output = folder / "good.png", folder / "cut.png", folder / "output.txt"
    Image.effect_noise((64, 48), 90).convert("RGB").save(good)
    cut.write_bytes(good.read_bytes()[:-200])
    arguments = ["-m", *TINY[1:], f"content={good},{cut}", "init=noise", "steps=8"]
    seeds, kills = part(SEEDS, scale), part(KILLS, scale)
    arguments += [f"seed={','.join(map(str, range(1, seeds + 1)))}"]
    arguments += ["optimizer=lbfgs_plain", "optimizer.max_restarts=0", "optimizer.lr=0.5,1e30"]
    arguments += ["trainer.checkpoint_minutes=1e-6"]
    begun = time.monotonic()
    command = run([*arguments, f"out={folder}/whole"], output)
    seconds = time.monotonic() - begun
    wanted = results_of(folder / "whole")
    outcome.expect("undisturbed", _wrong(command, folder / "whole", wanted))
    chance = random.Random(3)
    for trial in range(part(ROUNDS, scale)):
        place = folder / f"killed-{trial}"
        problems: list[str] = []
        for _ in range(kills):
            command = start([*arguments, f"out={place}"], output)
            time.sleep(chance.uniform(0.1, 0.9) * seconds)
            command.send(signal.SIGKILL)
            command.wait()
            problems += damaged(place)
        before = _finished(place)
        problems += _wrong(run([*arguments, f"out={place}"], output), place, wanted)
        problems += _done_twice(place, before)
        outcome.expect(f"killed, {trial}", problems)
    for special in SPECIAL[: part(len(SPECIAL), scale)]:
        place = folder / special.__name__
        outcome.expect(special.__name__, special([*arguments, f"out={place}"], place, wanted))
    return outcome


def _wrong(command: Command, place: Path, wanted: Results) -> list[str]:
    """Return what is wrong with a whole sweep."""
    found = results_of(place)
    # For each seed a damaged image fails twice, and another job diverges.
    done = len(wanted) // 4
    failed = 3 * done
    problems = command.wrong(1, f"{done} of {4 * done} jobs done, {failed} failed") + damaged(place)
    states = Counter(result["status"] for result in found.values())
    if not done or states != {"done": done, "failed": failed}:
        problems.append(f"jobs {dict(states)}")
    if sum("failed" in line.split() for line in command.text.splitlines()) < failed:
        problems.append("the table does not list the failed jobs")
    for name in ("sheet*.png", "results.csv", "report.html"):
        problems += [] if list(place.glob(name)) else [f"no {name}"]
    for job, result in wanted.items():  # a failed one may have failed at another moment
        if result["status"] == "done" and (names := differences(found.get(job, {}), result)):
            problems.append(f"{job} differs in {names}")
    return problems


def _finished(place: Path) -> dict[str, int]:
    """Return when each finished job was finished, from its image."""
    done = [job for job, result in results_of(place).items() if result["status"] == "done"]
    return {job: (place / job / "image.png").stat().st_mtime_ns for job in done}


def _done_twice(place: Path, before: dict[str, int]) -> list[str]:
    return [f"{job} was done twice" for job, _ in before.items() - _finished(place).items()]


def _two_at_once(arguments: list[str], place: Path, wanted: Results) -> list[str]:
    first = start(arguments, place.with_suffix(".1"))
    first.wait_for(place, "*/result.json")
    problems = run(arguments, place.with_suffix(".2")).wrong(2, "another process")
    return problems + _wrong(first.wait(), place, wanted)


def _two_workers(arguments: list[str], place: Path, wanted: Results) -> list[str]:
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    return _wrong(run([*arguments, *launcher], place.with_suffix(".1")), place, wanted)


SPECIAL = [_two_at_once, _two_workers]
