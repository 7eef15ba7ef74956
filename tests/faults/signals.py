"""SIGTERM, Ctrl-C and others at random moments; then the same command again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.faults import children
from tests.faults.crashes import RUNS, command_of, results
from tests.faults.folders import Result, damaged, differences, leftovers
from tests.faults.outcome import Outcome, part

# kind: (signals with the seconds between them, how many trials)
KINDS: dict[str, tuple[list[int], int]] = {
    "SIGTERM": ([signal.SIGTERM], 10),
    "SIGINT": ([signal.SIGINT], 10),
    "SIGHUP": ([signal.SIGHUP], 4),
    "SIGINT twice": ([signal.SIGINT, signal.SIGINT], 4),
    "SIGTERM thrice": ([signal.SIGTERM] * 3, 4),
    "SLURM's SIGTERM": ([signal.SIGTERM], 4),
    "SLURM's SIGUSR1": ([signal.SIGUSR1], 4),
    "SIGTERM to a sweep": ([signal.SIGTERM], 4),
    "SIGINT to a sweep": ([signal.SIGINT], 4),
    "SIGTERM to a fresh process": ([signal.SIGTERM], 2),
    "SIGINT to a fresh process": ([signal.SIGINT], 2),
}
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


def torture(share: float, folder: Path) -> Outcome:
    """See the module."""
    children.prepare()
    outcome = Outcome(
        "SIGTERM, SIGINT, SIGHUP or SIGUSR1, also twice, alone or in SLURM's environment",
        "exit code 128 + its number, the last step saved, the same bytes in the end",
    )
    chance = random.Random(1)
    (folder / "bin").mkdir()
    requeue = folder / "bin" / "scontrol"  # which nobody may call
    requeue.write_text(f"#!/bin/sh\ntouch {folder}/requeued\n", encoding="utf-8")
    requeue.chmod(0o755)
    wholes: dict[str, tuple[dict[str, Result], float]] = {}
    late = 0
    for kind, (numbers, full) in KINDS.items():
        name = "sweep" if "sweep" in kind else ""
        for trial in range(part(full, share)):
            run = name or chance.choice(sorted(RUNS))
            command = command_of(run)
            if run not in wholes:
                begun = time.monotonic()
                children.run([*command, f"out={folder}/whole-{run}"], folder / "text")
                wholes[run] = results(folder / f"whole-{run}"), time.monotonic() - begun
            whole, seconds = wholes[run]
            place = folder / f"{kind}-{trial}".replace(" ", "-").replace("'", "")
            # Not in the first tenth, in which the process may not have begun to listen.
            moment = chance.uniform(0.1, 1.0) * seconds
            if fresh := "fresh" in kind:  # counted from its first record, not from its start
                moment *= 0.3
            environment = {"PATH": f"{folder}/bin:{os.environ['PATH']}"}
            environment |= SLURM if "SLURM" in kind else {}
            problems, over = _trial(
                [*command, f"out={place}"], place, numbers, moment, environment, fresh
            )
            late += over
            if (folder / "requeued").exists():
                problems.append("the job was put back into SLURM's queue")
            again = children.run([*command, f"out={place}"], folder / "text")
            if again.code != 0 or "Traceback" in again.text():
                problems.append(f"again: {again.code}, {again.text()[-300:]}")
            elif sorted(found := results(place)) != sorted(whole):
                problems.append(f"jobs {sorted(found)}")
            else:
                for job, wanted in whole.items():
                    if names := differences(found[job], wanted):
                        problems.append(f"{job} differs in {names}")
                problems += leftovers(place)
            outcome.expect(
                not problems, f"{kind} {trial} ({run}, {moment:.2f} s): {'; '.join(problems)}"
            )
    outcome.notes.append(f"{late} came when all was done")
    return outcome


def _trial(
    command: list[str],
    place: Path,
    numbers: list[int],
    moment: float,
    environment: dict[str, str],
    fresh: bool,
) -> tuple[list[str], bool]:
    """What was wrong, and whether the signal came too late."""
    text = place.with_name("signalled")
    if fresh:
        with text.open("w") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "nst_exp", *command],
                stdout=stream,
                stderr=stream,
                env=os.environ | environment,
            )
        child = children.Child(process.pid, text)
        _wait_for(place / "result.json")
    else:
        child = children.start(command, text, environment=environment)
    time.sleep(moment)
    for number in numbers:
        child.send(number)
        time.sleep(BETWEEN)
    code = child.wait(30.0)
    said = child.text()
    # A third signal may end the process as it is, and one behind its last word as well.
    over = len(numbers) > 2 or "\nresult: " in said
    allowed = {128 + numbers[0]} | ({-numbers[0]} if over else set())
    problems = [] if code in allowed or code == 0 else [f"exit code {code}: {said[-300:]}"]
    if "Traceback" in said:
        problems.append(f"a traceback: {said[-300:]}")
    problems += damaged(place)
    if code != 0 and len(numbers) == 1:
        problems += _unsaved(place)
    return problems, code == 0


def _wait_for(path: Path) -> None:
    until = time.monotonic() + 60.0
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.05)


def _unsaved(place: Path) -> list[str]:
    """Runs that were told to stop, and have not saved their last step."""
    import torch

    found = []
    for record in [*place.glob("result.json"), *place.glob("*/result.json")]:
        values = json.loads(record.read_text(encoding="utf-8"))
        if values["status"] not in ("interrupted", "done"):
            found.append(f"{record.parent.name}: status {values['status']}")
        checkpoint = record.with_name("last.ckpt")
        if values["status"] != "interrupted" or "step" not in values:
            continue
        rows = record.with_name("losses.csv").read_text(encoding="utf-8").splitlines()
        steps = int(rows[-1].split(",")[0]) if len(rows) > 1 else 0
        saved = torch.load(checkpoint, weights_only=True)["global_step"]
        if values["step"] != steps or not 0 < saved <= steps:
            found.append(f"{record.parent.name}: step {values['step']}, {steps} made")
    return found
