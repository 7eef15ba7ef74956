"""Disks that are full or gone, folders that are read-only, names that are taken."""

import ctypes
import os
import random
import shutil
import signal
from functools import partial
from pathlib import Path

from tests.faults.commands import limit_files, run, start
from tests.faults.evaluations import Fault, inject_into_objective
from tests.faults.folders import compare, damaged, results_of
from tests.faults.outcome import Outcome, part
from tests.faults.signals import RUNS

FULL = 20
LEAST = 2048  # bytes; what the command prints goes to a file here
RUN = RUNS["noise"]
SLOW = [*RUN, "steps=60"]


def inject(scale: float, folder: Path) -> Outcome:
    """Let files grow to a random size only, and try every one of SPECIAL."""
    outcome = Outcome(
        "disks full at a random size of file, folders read-only, removed or occupied",
        "exit code 5 or 2, one message, earlier files complete, the same bytes once there is room",
    )
    chance = random.Random(2)
    output, whole, half = folder / "output.txt", folder / "whole", folder / "half"
    run([*RUN, f"out={whole}"], output)
    wanted = results_of(whole)
    largest = max(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    stop = partial(inject_into_objective, Fault("signal", signal.SIGTERM, 12), folder)
    run([*RUN, f"out={half}"], output, before=stop)
    # No file may exceed a size: as on a full disk, each writer fails at another moment.
    for trial in range(part(FULL, scale)):
        size = LEAST + int(chance.uniform(0.0, 1.0) ** 3 * (largest - LEAST))
        place = folder / f"full-{trial}"
        if trial % 2:
            shutil.copytree(half, place)
        limit = partial(limit_files, size)
        problems = run([*RUN, f"out={place}"], output, before=limit).wrong(5) + damaged(place)
        if trial % 2 and not (place / "last.ckpt").exists():
            problems.append("the checkpoint is gone")
        problems += run([*RUN, f"out={place}"], output).wrong(0) or compare(place, wanted)
        outcome.expect(f"no file above {size} bytes, {'resumed' if trial % 2 else ''}", problems)
    for special in SPECIAL[: part(len(SPECIAL), scale)]:
        place = folder / special.__name__
        place.mkdir()
        outcome.expect(special.__name__, special(place / "out", place / "output.txt"))
    outcome.notes.append(f"files cut at {LEAST / 1e3:.0f} to {largest / 1e3:.0f} kB")
    return outcome


def _drop_privileges() -> None:
    """Give up root's capabilities, so that read-only folders are read-only."""
    version = (ctypes.c_uint32 * 2)(0x20080522, 0)
    if os.getuid() == 0 and ctypes.CDLL(None).capset(version, (ctypes.c_uint32 * 6)()):
        raise OSError("capset")


def _became_read_only(out: Path, output: Path) -> list[str]:
    command = start([*SLOW, f"out={out}"], output, before=_drop_privileges)
    command.wait_for(out, "last.ckpt")
    out.chmod(0o555)
    problems = command.wait().wrong(5, "the best image is")
    out.chmod(0o755)
    return problems + damaged(out)


def _removed(out: Path, output: Path) -> list[str]:
    """It is made again, or there is an error and the best image is saved elsewhere."""
    command = start([*SLOW, f"out={out}"], output)
    command.wait_for(out, "last.ckpt")
    shutil.rmtree(out, ignore_errors=True)
    if command.wait().code == 0 and (out / "image.png").exists():
        return damaged(out)
    return command.wrong(5, "the best image is")


def _occupied(out: Path, output: Path) -> list[str]:
    first = start([*SLOW, f"out={out}"], output.with_name("first.txt"))
    first.wait_for(out, "last.ckpt")
    problems = run([*SLOW, f"out={out}"], output).wrong(2, "another process")
    return problems + first.wait().wrong(0)


def _file_is_kept(file: Path, out: Path, code: int, output: Path) -> list[str]:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"mine")
    problems = run([*RUN, f"out={out}"], output).wrong(code)
    return problems + ([] if file.read_bytes() == b"mine" else ["it was changed"])


def _file_on_the_way(out: Path, output: Path) -> list[str]:
    return _file_is_kept(out, out, 5, output) + _file_is_kept(out, out / "below", 5, output)


def _file_of_somebody_else(out: Path, output: Path) -> list[str]:
    return _file_is_kept(out / "image.png", out, 2, output)


SPECIAL = [_became_read_only, _removed, _occupied, _file_on_the_way, _file_of_somebody_else]
