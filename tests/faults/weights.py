"""Faults of weights: servers, networks, caches and files that are not what they should be.

Each trial is the command line with a cache of its own, and then the same command without the fault,
which must leave the image of a run that read the weights from a file.
"""

import hashlib
import io
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.models import resnet18, squeezenet1_1

from nst_exp.utils import download
from nst_exp.weights import fetch
from tests.faults import TINY
from tests.faults.commands import Command, limit_files, start
from tests.faults.outcome import Outcome, part
from tests.faults.server import PAGE, FaultyServer, serving

KILLS = 12
TIMEOUT_S = 0.5  # of a server that sends nothing; 30 s outside of these trials


@dataclass
class Fault:
    """One command under a fault, and how it must end."""

    answers: list[str] = field(default_factory=list)  # of the server
    code: int = 4
    words: str = ""
    published: str = ""  # one of the bad files, with the right hash
    how: dict[str, Any] = field(default_factory=dict)  # arguments of ``start``


FAULTS = [
    Fault(["404"], words="HTTP 404"),
    Fault(["503", "503"], 0),
    Fault(["500"] * 3, words="HTTP 500"),
    Fault(["stall"], 0),
    Fault(["stall"] * 3, words="no answer"),
    Fault(["cut", "cut"], 0),
    Fault(["cut"] * 3),
    Fault(["flip"], words="SHA-256"),
    Fault(["html"]),
    Fault(["short"], words="SHA-256"),
    Fault(["long"], 0),
    Fault(["endless"], words="larger than"),
    Fault(["to:/elsewhere"], 0),
    Fault(["to:/again"] * 40),
    Fault(["to:file:///etc/hostname"]),
    Fault(code=0, words="warning: ", how={"environment": {"NST_EXP_CACHE": "/proc/nst_exp"}}),
    *(Fault(how={"before": partial(limit_files, size)}) for size in (100_000, 4_900_000)),
    *(Fault(published=kind) for kind in ("pickle", "cut", "page", "architecture", "not finite")),
]


@dataclass
class Payload:
    """Unpickled without restraint, it makes a file."""

    victim: Path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.victim}",)


@dataclass
class Trial:
    """A scratch folder with a cache, and what has been found wrong so far."""

    server: FaultyServer
    folder: Path
    bad: dict[str, bytes]
    expected: bytes = b""  # pixels of the image that the right weights lead to
    problems: list[str] = field(default_factory=list)
    runs: int = 0

    @property
    def cached(self) -> list[Path]:
        """The files of weights in the cache."""
        return list((self.folder / "cache").rglob("*.safetensors"))

    def start(self, override: str = "", **how: Any) -> Command:
        """Start a run; by default with the server's file and its hash."""
        digest = hashlib.sha256(self.server.content).hexdigest()
        source = f"backbone.sources=[{{url:'{self.server.url}',sha256:'{digest}',megabytes:6}}]"
        self.runs += 1
        environment = {"NST_EXP_CACHE": f"{self.folder}/cache", "TORCH_HOME": f"{self.folder}"}
        how["environment"] = environment | {"NO_PROXY": "*"} | how.get("environment", {})
        arguments = [word for word in TINY if word != "backbone.weights=random"]
        arguments += ["steps=2", override or source, f"out={self.folder}/run{self.runs}"]
        return start(arguments, self.folder / f"run{self.runs}.txt", **how)

    def ends(self, command: Command, code: int, *words: str) -> None:
        """Require an end with this exit code: the right image, or one error with these words."""
        self.problems += command.wait().wrong(code, *words)
        if command.code == 0 and pixels(command.output.with_suffix("")) != self.expected:
            self.problems.append("another image")

    def heals(self) -> None:
        """Require that the same command without the fault ends well and leaves a clean cache."""
        self.server.released.set()
        self.server.expect()
        self.ends(self.start(), 0)
        files = [path for path in (self.folder / "cache").rglob("*") if path.is_file()]
        left = [path for path in files if path.suffix not in (".lock", ".safetensors")]
        if left or len(self.cached) != 1:
            self.problems.append(f"in the cache: {left or self.cached}")


def pixels(folder: Path) -> bytes:
    """Return the pixels of a run's image."""
    with Image.open(folder / "image.png") as image:
        return np.asarray(image).tobytes()


def _meets(fault: Fault, t: Trial) -> None:
    good = t.server.content
    t.server.expect(*fault.answers)
    t.server.content = t.bad.get(fault.published, good)
    t.ends(t.start(**fault.how), fault.code, fault.words)
    t.server.content = good
    if fault.code and t.cached:
        t.problems.append("a file is in the cache")


def _cached_file_changes(content: Callable[[bytes], bytes], t: Trial) -> None:
    """Without a server there is an error, with one the file is replaced."""
    t.ends(t.start(), 0)
    (path,) = t.cached
    path.write_bytes(content(path.read_bytes()))
    t.server.expect("404")
    t.ends(t.start(), 4, "warning: ", path.name)
    t.ends(t.start(), 0, "warning: ")


def _four_at_once(t: Trial) -> None:
    t.server.expect(*["slow"] * 4)  # so that the others start while the first one downloads
    for command in [t.start() for _ in range(4)]:
        t.ends(command, 0)
    if len(t.server.requests) != 1:
        t.problems.append(f"{len(t.server.requests)} downloads, not 1")


def _killed(moment: float, t: Trial) -> None:
    command = t.start()
    time.sleep(moment)
    command.send(signal.SIGKILL)
    command.wait()


def inject(scale: float, folder: Path) -> Outcome:
    """Do every fault, each followed by a run without it."""
    outcome = Outcome(
        "weights: faulty servers, damaged or planted files, full disks, kills",
        "exit code 4 with what to do, or recovery; no foreign code run, nothing damaged kept",
    )
    fetch.TIMEOUT_S, download.PAUSE_S = TIMEOUT_S, 0.01  # this process is the block's own
    torch.manual_seed(0)
    state, victim = squeezenet1_1().state_dict(), folder / "victim"
    good = _saved(state)
    bad = {
        "pickle": _saved({"state_dict": Payload(victim)}),
        "cut": good[: len(good) // 2],
        "page": PAGE,
        "architecture": _saved(resnet18().state_dict()),
        "not finite": _saved({name: tensor * float("nan") for name, tensor in state.items()}),
    }
    chance = random.Random(0)
    faults: list[Callable[[Trial], None]] = [_four_at_once]
    faults += [partial(_meets, fault) for fault in FAULTS]
    faults += [partial(_killed, chance.uniform(0.02, 0.8)) for _ in range(KILLS)]
    changes: list[Callable[[bytes], bytes]] = [
        lambda content: content[:-9] + b"!" + content[-8:],
        lambda content: content[: len(content) // 2],
        lambda content: bad["pickle"],
    ]
    faults += [partial(_cached_file_changes, change) for change in changes]
    chance.shuffle(faults)
    with serving() as server:
        server.content = good
        (folder / "good.pth").write_bytes(good)
        command = Trial(server, folder, bad).start(f"backbone.file={folder}/good.pth").wait()
        assert command.code == 0, command.text
        for number, fault in enumerate(faults[: part(len(faults), scale)]):
            (folder / f"trial{number}").mkdir()
            trial = Trial(server, folder / f"trial{number}", bad, pixels(folder / "run1"))
            fault(trial)
            trial.heals()
            if victim.exists():
                trial.problems.append("foreign code was run")
                victim.unlink()
            outcome.expect(fault, trial.problems)
    return outcome


def _saved(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()
