"""Faults of weights: servers, networks, caches and files that are not what they should be.

Each trial is the command line with a cache of its own, and then the same command without the fault,
which must leave the image of a run that read the weights from a file.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from PIL import Image

from tests.faults.commands import TINY, Command, import_all, start
from tests.faults.outcome import Outcome, part
from tests.faults.server import PAGE, FaultyServer, serving

KILLS = 12
TIMEOUT_S = 0.5  # of a server that sends nothing; 30 s outside of these trials

# What the server does, the exit code, and the words that say so.
SERVER: list[tuple[list[str], int, str]] = [
    (["404"], 4, "HTTP 404"),
    (["403"], 4, "HTTP 403"),
    (["503", "503"], 0, ""),
    (["500"] * 3, 4, "HTTP 500"),
    (["stall"], 0, ""),
    (["stall"] * 3, 4, "no answer"),
    (["cut", "cut"], 0, ""),
    (["cut"] * 3, 4, ""),
    (["flip"], 4, "SHA-256"),
    (["html"], 4, ""),
    (["short"], 4, "SHA-256"),
    (["long"], 0, ""),
    (["endless"], 4, "larger than"),
    (["to:/elsewhere"], 0, ""),
    (["to:/again"] * 40, 4, ""),
    (["to:file:///etc/hostname"], 4, ""),
    (["to:data:,weights"], 4, ""),
]


class Payload:
    """Unpickled without restraint, it makes a file."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.victim}",)


@dataclass
class Trial:
    """A scratch folder with a cache, and what has been found wrong so far."""

    server: FaultyServer
    folder: Path
    good: bytes  # what the server publishes
    bad: dict[str, bytes]  # what must be refused even with the right hash
    expected: bytes = b""  # pixels of the image that these weights lead to
    problems: list[str] = field(default_factory=list)
    runs: int = 0

    @property
    def cached(self) -> list[Path]:
        """The files of weights in the cache."""
        return list((self.folder / "cache").rglob("*.safetensors"))

    def source(self, content: bytes | None = None, url: str = "", more: str = "") -> str:
        """Return the override for a file at the server with the hash of ``content``."""
        digest = hashlib.sha256(content or self.good).hexdigest()
        return f"backbone.sources=[{{url:'{url or self.server.url}',sha256:'{digest}'{more}}}]"

    def start(self, override: str = "", **how: object) -> Command:
        """Start a run; by default with the server's file."""
        self.runs += 1
        before = how.pop("before", lambda: None)
        environment = {
            "NST_EXP_CACHE": str(self.folder / "cache"),
            "TORCH_HOME": str(self.folder / "torch"),
            "NO_PROXY": "*",
        }

        def prepare() -> None:
            from nst_exp.utils import download
            from nst_exp.weights import fetch

            fetch.TIMEOUT_S, download.PAUSE_S = TIMEOUT_S, 0.01
            before()  # type: ignore[operator]

        arguments = [word for word in TINY if word != "backbone.weights=random"]
        return start(
            [*arguments, "steps=2", override or self.source(), f"out=run{self.runs}"],
            self.folder / f"output{self.runs}",
            folder=self.folder,
            environment=environment | how.pop("environment", {}),  # type: ignore[operator]
            before=prepare,
            **how,  # type: ignore[arg-type]
        )

    def ends(self, command: Command, code: int, *words: str) -> None:
        """Require an end with this exit code: the right image, or one error with these words."""
        self.problems += command.wait().wrong(code, *words)
        path = command.output.with_name(command.output.name.replace("output", "run")) / "image.png"
        if command.code == 0 and pixels(path) != self.expected:
            self.problems.append("another image")

    def heals(self) -> None:
        """Require that the same command without the fault ends well and leaves a clean cache."""
        self.server.released.set()
        self.server.expect()
        self.server.content = self.good
        self.ends(self.start(), 0)
        left = {p for p in (self.folder / "cache").rglob("*") if p.is_file()} - {*self.cached}
        left = {path for path in left if path.suffix not in (".lock", ".json")}
        if left or len(self.cached) != 1:
            self.problems.append(f"in the cache: {left or self.cached}")


def pixels(path: Path) -> bytes:
    """Return the pixels of an image; nothing if it does not exist."""
    if not path.exists():
        return b""
    with Image.open(path) as image:
        return image.convert("RGB").tobytes()


def _answers(t: Trial, faults: list[str], code: int, words: str) -> None:
    t.server.expect(*faults)
    t.ends(t.start(t.source(more=",megabytes:6")), code, words)


def _no_dns(t: Trial) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def names_fail() -> None:
        socket.getaddrinfo = refuse  # type: ignore[assignment]

    url = "https://weights.invalid/w.pth"
    t.ends(t.start(t.source(url=url), before=names_fail), 4, "no network", url)


def _no_server(t: Trial) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/w.pth"
        t.ends(t.start(t.source(url=url)), 4, url)


def _local_address(t: Trial) -> None:
    t.ends(t.start(t.source(url="file:///etc/hostname")), 4, "http")


def _no_hash(t: Trial) -> None:
    t.server.expect()
    t.ends(t.start(f"backbone.sources=[{{url:'{t.server.url}'}}]"), 4)
    if t.server.requests:
        t.problems.append("it was downloaded all the same")


def _published(t: Trial, kind: str) -> None:
    t.server.expect()
    t.server.content = t.bad[kind]
    t.ends(t.start(t.source(t.bad[kind])), 4)
    if t.cached:
        t.problems.append("it is in the cache")


def _own_file(t: Trial, kind: str) -> None:
    path = t.folder / "own.pth"
    path.write_bytes(t.bad[kind])
    t.ends(t.start(f"backbone.file={path}"), 4, f"backbone.file={path}")


def _corrupted(t: Trial, change: Callable[[bytes], bytes]) -> None:
    """A cached file changes: without a server an error, with one it is replaced."""
    t.server.expect()
    t.ends(t.start(), 0)
    (path,) = t.cached
    path.write_bytes(change(path.read_bytes()))
    t.server.expect("404")
    t.ends(t.start(), 4, "warning: ", path.name)
    t.server.expect()
    t.ends(t.start(), 0, "warning: ", path.name)


def _no_cache(t: Trial) -> None:
    t.server.expect()
    t.ends(t.start(environment={"NST_EXP_CACHE": "/proc/nst_exp"}), 0, "warning: ", "/proc/nst_exp")


def _full_disk(t: Trial, share: float) -> None:
    t.server.expect()
    t.ends(t.start(largest_file=int(share * len(t.good))), 4)
    if t.cached:
        t.problems.append("a file is in the cache")


def _four_at_once(t: Trial) -> None:
    t.server.expect(*["slow"] * 4)  # so that the others start while the first one downloads
    for command in [t.start() for _ in range(4)]:
        t.ends(command, 0)
    if len(t.server.requests) != 1:
        t.problems.append(f"{len(t.server.requests)} downloads, not 1")


def _killed(t: Trial, moment: float) -> None:
    t.server.expect()
    command = t.start()
    time.sleep(moment)
    command.send(signal.SIGKILL)
    command.wait()


def _faults(scale: float) -> dict[str, Callable[[Trial], None]]:
    """Return all faults by name, in random order."""
    faults: dict[str, Callable[[Trial], None]] = {
        "no DNS": _no_dns,
        "no server": _no_server,
        "a local address": _local_address,
        "no hash": _no_hash,
        "no cache": _no_cache,
        "four at once": _four_at_once,
    }
    for answers, code, words in SERVER:
        name = f"server: {' '.join(answers)[:30]}"
        faults[name] = partial(_answers, faults=answers, code=code, words=words)
    for kind in ("pickle", "cut", "page", "architecture", "not finite"):
        faults[f"own file: {kind}"] = partial(_own_file, kind=kind)
        faults[f"published: {kind}"] = partial(_published, kind=kind)
    changes: dict[str, Callable[[bytes], bytes]] = {
        "flipped": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
        "cut": lambda content: content[: len(content) // 2],
        "empty": lambda content: b"",
        "page": lambda content: PAGE,
    }
    for name, change in changes.items():
        faults[f"cached file: {name}"] = partial(_corrupted, change=change)
    for share in (0.05, 0.5, 0.999):
        faults[f"disk full at {share}"] = partial(_full_disk, share=share)
    chance = random.Random(0)
    for number in range(part(KILLS, scale)):
        faults[f"SIGKILL {number}"] = partial(_killed, moment=chance.uniform(0.02, 0.8))
    names = sorted(faults)
    chance.shuffle(names)
    return {name: faults[name] for name in names[: part(len(names), scale)]}


def inject(scale: float, folder: Path) -> Outcome:
    """Do every fault, each followed by a run without it."""
    import_all()
    import torch
    from torchvision.models import resnet18, squeezenet1_1

    outcome = Outcome(
        "weights: faulty servers, damaged or planted files, full disks, kills",
        "exit code 4 with what to do, or recovery; no foreign code run, nothing damaged kept",
    )
    torch.manual_seed(0)
    victim = folder / "victim"
    state = squeezenet1_1().state_dict()
    good = _saved(state)
    broken = {name: tensor * float("nan") for name, tensor in state.items()}
    bad = {
        "pickle": _saved({"state_dict": Payload(victim)}),
        "cut": good[: len(good) // 2],
        "page": PAGE,
        "architecture": _saved(resnet18().state_dict()),
        "not finite": _saved(broken),
    }
    with serving() as server:
        server.content = good
        first = Trial(server, folder, good, bad)
        (folder / "good.pth").write_bytes(good)
        command = first.start(f"backbone.file={folder}/good.pth").wait()
        expected = pixels(folder / "run1" / "image.png")
        assert command.code == 0, command.text
        for number, (name, fault) in enumerate(_faults(scale).items()):
            place = folder / f"trial{number}"
            place.mkdir()
            trial = Trial(server, place, good, bad, expected)
            fault(trial)
            trial.heals()
            if victim.exists():
                trial.problems.append("foreign code was run")
                victim.unlink()
            outcome.expect(name, trial.problems)
            shutil.rmtree(place)
    return outcome


def _saved(content: object) -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()
