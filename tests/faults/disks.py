"""Disks that are full or gone, folders that may not be written to, names that are taken."""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults import children
from tests.faults.crashes import LONG
from tests.faults.folders import damaged, differences, leftovers, result_of
from tests.faults.outcome import Outcome, part

LEAST = 2048  # bytes; what the command says on the screen goes to a file here
COMMAND = [*children.TINY, *LONG, "init=noise"]


def torture(share: float, folder: Path) -> Outcome:
    """See the module."""
    children.prepare()
    outcome = Outcome(
        "disks full at a random size of file, folders read-only, removed or occupied",
        "exit code 5 or 2, one line, earlier files whole, the same bytes once there is room",
    )
    chance = random.Random(2)
    whole = folder / "whole"
    children.run([*COMMAND, f"out={whole}"], folder / "text")
    largest = max(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    half = _half(folder)
    wanted = result_of(whole)
    # No file may grow beyond a size: as on a full disk, each writer fails at another moment.
    for trial in range(part(20, share)):
        size = LEAST + int(chance.uniform(0.0, 1.0) ** 3 * (largest - LEAST))
        place = folder / f"full-{trial}"
        from_half = trial % 2 == 1
        if from_half:
            shutil.copytree(half, place)
        child = children.run([*COMMAND, f"out={place}"], folder / "text", largest_file=size)
        problems = _refused(child, 5)
        problems += damaged(place) if place.exists() else []
        if from_half and not (place / "last.ckpt").exists():
            problems.append("the checkpoint is gone")
        child = children.run([*COMMAND, f"out={place}"], folder / "text")
        if child.code != 0:
            problems.append(f"with room: {child.code}, {child.text()[-300:]}")
        else:
            problems += differences(result_of(place), wanted) + leftovers(place)
        words = "going on" if from_half else "from the start"
        outcome.expect(not problems, f"no file above {size} B, {words}: {'; '.join(problems)}")
    for name, special in (TRIALS if share >= 1 else {}).items():
        place = folder / name.replace(" ", "-").replace("=", "")
        place.mkdir()
        problems = special(place)
        outcome.expect(not problems, f"{name}: {'; '.join(problems)}")
    outcome.notes.append(f"files cut at {LEAST / 1e3:.0f} to {largest / 1e3:.0f} kB")
    return outcome


def _half(folder: Path) -> Path:
    """A run that was stopped halfway."""
    place = folder / "half"
    for _ in range(20):
        shutil.rmtree(place, ignore_errors=True)
        child = children.start([*COMMAND, f"out={place}"], folder / "text")
        while child.poll() is None and not (place / "last.ckpt").exists():
            time.sleep(0.001)
        child.send(signal.SIGTERM)
        if child.wait() == 128 + signal.SIGTERM and (place / "last.ckpt").exists():
            return place
    raise RuntimeError("every run was faster than the signal")


def _refused(child: children.Child, code: int) -> list[str]:
    text = child.text()
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    if child.code != code or "Traceback" in text or "Exception" in text or len(errors) != 1:
        return [f"exit code {child.code}: {text[-500:]}"]
    return []


def _without_privileges() -> None:
    """Folders that are read-only are so for root, too, if it lays down its capabilities."""
    if os.getuid() == 0:
        version = (ctypes.c_uint32 * 2)(0x20080522, 0)
        if ctypes.CDLL(None).capset(version, (ctypes.c_uint32 * 6)()):
            raise OSError("capset")


def _read_only(place: Path) -> list[str]:
    (place / "out").mkdir()
    (place / "out").chmod(0o555)
    child = children.run([*COMMAND, f"out={place}/out"], place / "text", before=_without_privileges)
    return _refused(child, 5)


def _below_read_only(place: Path) -> list[str]:
    (place / "shut").mkdir()
    (place / "shut").chmod(0o555)
    child = children.run(
        [*COMMAND, f"out={place}/shut/out"], place / "text", before=_without_privileges
    )
    return _refused(child, 5)


def _below_a_file(place: Path) -> list[str]:
    (place / "file").write_bytes(b"mine")
    child = children.run([*COMMAND, f"out={place}/file/out"], place / "text")
    kept = (place / "file").read_bytes() == b"mine"
    return _refused(child, 5) + ([] if kept else ["the file was changed"])


def _a_file(place: Path) -> list[str]:
    (place / "file").write_bytes(b"mine")
    child = children.run([*COMMAND, f"out={place}/file"], place / "text")
    kept = (place / "file").read_bytes() == b"mine"
    return _refused(child, 5) + ([] if kept else ["the file was changed"])


def _a_device(place: Path) -> list[str]:
    return _refused(children.run([*COMMAND, "out=/dev/full"], place / "text"), 5)


def _picture_is_a_folder(place: Path) -> list[str]:
    (place / "out" / "image.png").mkdir(parents=True)
    child = children.run([*COMMAND, f"out={place}/out"], place / "text")
    return _refused(child, 2)


def _picture_of_somebody(place: Path) -> list[str]:
    (place / "out").mkdir()
    (place / "out" / "image.png").write_bytes(b"mine")
    child = children.run([*COMMAND, f"out={place}/out"], place / "text")
    kept = (place / "out" / "image.png").read_bytes() == b"mine"
    return _refused(child, 2) + ([] if kept else ["the picture was changed"])


def _removed(place: Path) -> list[str]:
    """The folder is removed while the run goes on: it may say so, or make it again."""
    child = children.start([*COMMAND, f"out={place}/out", "steps=60"], place / "text")
    while child.poll() is None and not (place / "out" / "last.ckpt").exists():
        time.sleep(0.001)
    shutil.rmtree(place / "out", ignore_errors=True)
    child.wait()
    if child.code == 0:
        whole = (place / "out" / "image.png").exists() and not damaged(place / "out")
        return [] if whole else ["done, but there is no picture"]
    problems = _refused(child, 5)
    return problems if "the best image is" in child.text() else [*problems, "the image is lost"]


def _became_read_only(place: Path) -> list[str]:
    out = place / "out"
    child = children.start(
        [*COMMAND, f"out={out}", "steps=60"], place / "text", before=_without_privileges
    )
    while child.poll() is None and not (out / "last.ckpt").exists():
        time.sleep(0.001)
    out.chmod(0o555)
    child.wait()
    out.chmod(0o755)
    problems = _refused(child, 5) + damaged(out)
    return problems if "the best image is" in child.text() else [*problems, "the image is lost"]


def _occupied(place: Path) -> list[str]:
    """A second run in the folder of one that goes on, with the same settings."""
    command = [*COMMAND, f"out={place}/out", "steps=60"]
    first = children.start(command, place / "first")
    while first.poll() is None and not (place / "out" / "last.ckpt").exists():
        time.sleep(0.001)
    second = children.run(command, place / "text")
    first.wait()
    problems = _refused(second, 2)
    if "another process" not in second.text():
        problems.append(second.text()[-300:])
    if first.code != 0:
        problems.append(f"the first ends with {first.code}: {first.text()[-300:]}")
    return problems


def _at_once(place: Path) -> list[str]:
    """Four runs that begin together, without a folder of their own choice."""
    started = [
        children.start([*COMMAND, "steps=2"], place / f"text-{n}", folder=place) for n in range(4)
    ]
    codes = [child.wait() for child in started]
    made = list((place / "outputs").rglob("image.png"))
    return [] if codes == [0] * 4 and len(made) == 4 else [f"codes {codes}, {len(made)} pictures"]


TRIALS: dict[str, Callable[[Path], list[str]]] = {
    "out= is read-only": _read_only,
    "out= lies in a read-only folder": _below_read_only,
    "out= lies below a file": _below_a_file,
    "out= is a file": _a_file,
    "out= is a device": _a_device,
    "image= is a folder there": _picture_is_a_folder,
    "image= is somebody's picture": _picture_of_somebody,
    "folder removed on the way": _removed,
    "folder made read-only on the way": _became_read_only,
    "two runs in one folder": _occupied,
    "four runs at once": _at_once,
}
