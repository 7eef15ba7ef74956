"""SIGTERM, Ctrl-C and others at random moments; then the same command again."""

import json
import os
import random
import signal
import tempfile
import time
from functools import cache
from pathlib import Path

import torch

from tests.faults import TINY
from tests.faults.commands import Command, run, start
from tests.faults.folders import Results, compare, damaged, results_of
from tests.faults.outcome import Outcome, part

# Steps enough to be hit, and a checkpoint after each, so that a kill may hit its writing.
LONG = [*TINY, "steps=24", "logging.image_every=5", "trainer.checkpoint_minutes=1e-6"]
RUNS = {
    "content": LONG,
    "noise": [*LONG, "init=noise", "optimizer.history=5"],
    "pixels": [*LONG, "optimizer=lbfgs_plain"],
    "adam": [*LONG, "optimizer=adam", "resolution.averaging=0.9"],
    "pyramid": [*LONG, "resolution.pyramid=true", "resolution.sizes=[24,32,48]"],
    "sweep": ["-m", *LONG, "seed=1,2,3", "init=noise", "steps=8"],
}
# What is sent, how many times in a row, to what, and the number of trials.
Kind = tuple[signal.Signals, int, str, int]
KINDS: list[Kind] = [
    (signal.SIGINT, 2, "run", 4),
    (signal.SIGHUP, 1, "run", 4),
    (signal.SIGUSR1, 1, "SLURM", 4),
    (signal.SIGTERM, 3, "run", 4),
    (signal.SIGTERM, 1, "SLURM", 4),
    (signal.SIGTERM, 1, "run", 12),
    (signal.SIGINT, 1, "run", 12),
    (signal.SIGTERM, 1, "sweep", 3),
    (signal.SIGINT, 1, "sweep", 3),
]
BETWEEN = 0.03  # seconds between two signals in a row
SLURM = {"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "run", "SLURM_NTASKS": "1", "SLURM_PROCID": "0"}
SLURM |= {"SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_JOB_NODELIST": "localhost"}


@cache
def undisturbed(name: str, folder: Path) -> tuple[Results, float]:
    """Do one of RUNS undisturbed; return its results and its seconds."""
    begun = time.monotonic()
    command = run([*RUNS[name], f"out={folder}/whole-{name}"], folder / "whole.txt")
    assert command.code == 0, command.text
    return results_of(folder / f"whole-{name}"), time.monotonic() - begun


def inject(scale: float, folder: Path) -> Outcome:
    """Send each kind of signal."""
    outcome = Outcome(
        "SIGTERM, SIGINT, SIGHUP or SIGUSR1, also several, alone or in SLURM's environment",
        "exit code 128 + its number, the last step saved, the same bytes in the end",
    )
    # The last ones are also tested in tests/app.
    kinds = KINDS[: max(3, part(len(KINDS), scale))]
    return interrupt(outcome, kinds, scale, folder)


def interrupt(outcome: Outcome, kinds: list[Kind], scale: float, folder: Path) -> Outcome:
    """Interrupt runs once or several times each, then let them end; count the interruptions."""
    chance = random.Random(1)
    names = list(RUNS)[: part(len(RUNS) - 1, scale)]
    most = part(4, scale)  # kills of one run
    late = trial = 0
    with tempfile.TemporaryDirectory(dir="/dev/shm") as temporary:  # another file system
        for number, times, target, full in kinds:
            for _ in range(part(full, scale)):
                trial += 1
                name = "sweep" if target == "sweep" else chance.choice(names)
                wanted, seconds = undisturbed(name, folder)
                place, output = folder / f"{trial}", folder / "interrupted.txt"
                arguments = [*RUNS[name], f"out={place}"]
                environment = (SLURM if target == "SLURM" else {}) | {"TMPDIR": temporary}
                problems: list[str] = []
                hits = 0
                for _ in range(chance.randint(1, most) if number == signal.SIGKILL else 1):
                    command = start(arguments, output, environment=environment)
                    # Not in the first tenth, in which the command may not have set its handlers.
                    time.sleep(chance.uniform(0.1, 1.0) * seconds)
                    for _ in range(times):
                        command.send(number)
                        time.sleep(BETWEEN)
                    hits += command.wait(30.0).code != 0
                    problems += _ended(command, number, times) + damaged(place)
                    if times == 1 and number != signal.SIGKILL:
                        problems += _unsaved(place)
                late += not hits
                problems += run(arguments, output).wrong(0) or compare(place, wanted)
                for _ in range(max(1, hits)):
                    outcome.expect(f"{number.name} {times} times to a {target} ({name})", problems)
        if left := os.listdir(temporary):
            outcome.failures.append(f"left in the temporary folder: {left}")
    outcome.notes.append(f"{trial} runs and sweeps; {late} were faster")
    return outcome


def _ended(command: Command, number: int, times: int) -> list[str]:
    # A third signal, and one that comes after the last line, may end the process at once.
    at_once = times > 2 or "\nresult: " in command.text or number == signal.SIGKILL
    allowed = {0, 128 + number} | ({-number} if at_once else set())
    if command.code in allowed and "Traceback" not in command.text:
        return []
    return [f"exit code {command.code}: {command.text[-500:]!r}"]


def _unsaved(place: Path) -> list[str]:
    """Return the runs that were stopped and whose record, losses and checkpoint do not agree."""
    found = []
    for path in place.rglob("result.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["status"] not in ("interrupted", "done"):
            found.append(f"{path.parent.name}: status {record['status']}")
        if record["status"] != "interrupted" or "step" not in record:
            continue
        rows = path.with_name("losses.csv").read_text(encoding="utf-8").splitlines()
        steps = int(rows[-1].split(",")[0]) if len(rows) > 1 else 0
        saved = torch.load(path.with_name("last.ckpt"), weights_only=True)["global_step"]
        if record["step"] != steps or not 0 < saved <= steps:
            found.append(f"{path.parent.name}: step {record['step']}, {steps} done")
    return found
