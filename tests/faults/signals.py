"""SIGTERM, Ctrl-C and others at random moments; then the same command again."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

from tests.faults.commands import Command, import_all, run, start
from tests.faults.folders import compare, damaged
from tests.faults.kills import RUNS, undisturbed
from tests.faults.outcome import Outcome, part

# What is sent, how many times, to what, and the trials of it.
KINDS: list[tuple[signal.Signals, int, str, int]] = [
    (signal.SIGTERM, 1, "run", 12),
    (signal.SIGINT, 1, "run", 12),
    (signal.SIGHUP, 1, "run", 4),
    (signal.SIGINT, 2, "run", 4),
    (signal.SIGTERM, 3, "run", 4),
    (signal.SIGTERM, 1, "SLURM", 4),
    (signal.SIGUSR1, 1, "SLURM", 4),
    (signal.SIGTERM, 1, "sweep", 3),
    (signal.SIGINT, 1, "sweep", 3),
]
BETWEEN = 0.03  # seconds between two signals
SLURM = {
    "SLURM_JOB_ID": "1",
    "SLURM_JOB_NAME": "run",
    "SLURM_NTASKS": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_JOB_NODELIST": "localhost",
}


def inject(scale: float, folder: Path) -> Outcome:
    """Send each kind of signal at random moments."""
    import_all()
    outcome = Outcome(
        "SIGTERM, SIGINT, SIGHUP or SIGUSR1, also several, alone or in SLURM's environment",
        "exit code 128 + its number, the last step saved, the same bytes in the end",
    )
    chance = random.Random(1)
    late = 0
    environment = {"PATH": f"{_fake_slurm(folder)}:{os.environ['PATH']}"}
    runs = [name for name in RUNS if name != "sweep"]
    for number, times, target, full in KINDS:
        for trial in range(part(full, scale)):
            name = "sweep" if target == "sweep" else chance.choice(runs)
            wanted, seconds = undisturbed(name, folder)
            place = folder / f"{number.name}-{times}-{target}-{trial}"
            arguments, output = [*RUNS[name], f"out={place}"], folder / "signaled.txt"
            command = start(
                arguments,
                output,
                environment=environment | (SLURM if target == "SLURM" else {}),
            )
            # Not in the first tenth, in which the command may not have set its handlers.
            time.sleep(chance.uniform(0.1, 1.0) * seconds)
            for _ in range(times):
                command.send(number)
                time.sleep(BETWEEN)
            command.wait(30.0)
            late += command.code == 0
            problems = _ended(command, number, times) + damaged(place)
            if times == 1:
                problems += _unsaved(place)
            if (folder / "requeued").exists():
                problems.append("scontrol was called")
            problems += run(arguments, output).wrong(0) or compare(place, wanted)
            outcome.expect(f"{number.name} {times} times to a {target} ({name})", problems)
    outcome.notes.append(f"{late} came when all was done")
    return outcome


def _fake_slurm(folder: Path) -> Path:
    """Make a ``scontrol`` that nobody may call; return its folder."""
    (folder / "bin").mkdir()
    requeue = folder / "bin" / "scontrol"
    requeue.write_text(f"#!/bin/sh\ntouch {folder}/requeued\n", encoding="utf-8")
    requeue.chmod(0o755)
    return requeue.parent


def _ended(command: Command, number: int, times: int) -> list[str]:
    # A third signal, and one that comes after the last line, may end the process at once.
    at_once = times > 2 or "\nresult: " in command.text
    allowed = {0, 128 + number} | ({-number} if at_once else set())
    if command.code in allowed and "Traceback" not in command.text:
        return []
    return [f"exit code {command.code}: {command.text[-500:]!r}"]


def _unsaved(place: Path) -> list[str]:
    """Return the runs that were stopped and whose record, losses and checkpoint do not agree."""
    import torch

    found = []
    for path in [*place.glob("result.json"), *place.glob("*/result.json")]:
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
