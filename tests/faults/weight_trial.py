"""One trial of a fault of weights: a cache, runs of the command line, and what they must end in."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nst_exp.weights.architecture import trunk
from tests.faults import children
from tests.faults.children import Child
from tests.faults.server import FaultyServer

NETWORK = "squeezenet1_1"  # 2.9 MB
TIMEOUT_S = 0.5  # of a server that says nothing; 30 s outside of these trials
MARGIN_S = 20.0  # for the start of a run, on a machine with other work
ADVICE = ("What to do:", "fetch", "backbone.file=PATH", "choose another backbone")


class Payload:
    """Unpickled without restraint, it makes a file."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.victim}",)


def torch_file(content: object) -> bytes:
    """As torch.save writes it."""
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def random_state(network: str) -> dict[str, Tensor]:
    """A trunk under which activations keep their size."""
    numbers = np.random.default_rng(0)
    state = {}
    for key, like in trunk(network).items():
        fan_in = max(1, like[0].numel()) if like.ndim > 1 else 10_000
        values = numbers.normal(0.0, (2 / fan_in) ** 0.5, tuple(like.shape))
        state[key] = torch.from_numpy(values.astype(np.float32))
    return state


def sha256(content: bytes) -> str:
    """64 hex digits."""
    return hashlib.sha256(content).hexdigest()


@dataclass
class Trial:
    """One fault: a scratch folder, a cache in it, and what has been found wrong so far."""

    name: str
    server: FaultyServer
    folder: Path
    good: bytes  # what the server publishes
    conversion: bytes  # the same tensors as safetensors
    expected: bytes  # pixels of the picture that these weights lead to
    evil: bytes  # a pickle that would make the file ``victim``
    victim: Path
    wrongs: list[str] = field(default_factory=list)
    runs: int = 0
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def cached(self) -> Path:
        """Where the published file's conversion lies."""
        return self.cache / "weights" / f"{NETWORK}-{sha256(self.good)[:16]}.safetensors"

    def require(self, kept: bool, what: str) -> None:
        if not kept:
            self.wrongs.append(what)

    def source(self, content: bytes | None = None, url: str | None = None, more: str = "") -> str:
        """The override for a file at the server; its hash is that of ``content``."""
        digest = sha256(self.good if content is None else content)
        return f"backbone.sources=[{{url:'{url or self.server.url}',sha256:'{digest}'{more}}}]"

    def start(
        self,
        *overrides: str,
        before: Callable[[], None] | None = None,
        largest_file: int | None = None,
    ) -> Child:
        """The command line; ``overrides`` stand in for the server's good file."""
        self.runs += 1
        run = self.folder / f"run{self.runs}"
        temporary = self.folder / "temporary"
        temporary.mkdir(exist_ok=True)

        def prepare() -> None:
            from nst_exp.utils import download
            from nst_exp.weights import fetch

            fetch.TIMEOUT_S, download.PAUSE_S = TIMEOUT_S, 0.01
            tempfile.tempdir = str(temporary)  # or the parent's, which is known already
            if before is not None:
                before()

        tiny = [word for word in children.TINY if word != "backbone.weights=random"]
        return children.start(
            [*tiny, "steps=2", *(overrides or [self.source()]), f"out={run}"],
            self.folder / f"output{self.runs}",
            folder=self.folder,
            environment={
                "NST_EXP_CACHE": str(self.cache),
                "TORCH_HOME": str(self.folder / "torch"),
                "NO_PROXY": "*",
                "no_proxy": "*",
                **self.environment,
            },
            before=prepare,
            largest_file=largest_file,
        )

    def ends(
        self, child: Child, code: int, words: Iterable[str] = (), advice: bool | None = None
    ) -> None:
        """The child must end so: with the right picture, or with one error that says ``words``."""
        found, run = child.wait(), self.folder / f"run{child.output.name.removeprefix('output')}"
        text = child.text()
        self.require(found == code, f"ended with {found}, not {code}: {gist(text)}")
        self.require("Traceback" not in text, f"a traceback: {gist(text)}")
        errors = [line for line in text.splitlines() if line.startswith("error: ")]
        self.require(len(errors) == (code != 0), f"{len(errors)} errors were said")
        wanted = [*words, *(ADVICE if (code != 0 if advice is None else advice) else ())]
        self.require(
            all(word in text for word in wanted),
            f"not said: {', '.join(word for word in wanted if word not in text)}: {gist(text)}",
        )
        if code == 0 and found == 0:
            self.require(pixels(run) == self.expected, "another picture")
        self.require(not self.victim.exists(), "foreign code was run")

    def healed(self, requests: int | None = None) -> None:
        """Without a fault: the right picture, and then ``is_clean``."""
        self.server.expect()
        self.environment.clear()
        self.ends(self.start(), 0)
        if requests is not None:
            found = len(self.server.ranges)
            self.require(found == requests, f"{found} requests afterwards, not {requests}")
        self.is_clean()

    def is_clean(self) -> None:
        """The cache holds the published tensors with their record and nothing else."""
        left = {path for path in self.cache.rglob("*") if path.is_file() and path.suffix != ".lock"}
        wanted = {self.cached, self.cached.with_suffix(".json")}
        self.require(left == wanted, f"in the cache: {sorted(path.name for path in left)}")
        self.require(not any((self.folder / "temporary").iterdir()), "temporary files are left")
        kept = self.cached.read_bytes() if self.cached.is_file() else b""
        self.require(kept == self.conversion, "what is cached is not what was published")


def gist(text: str) -> str:
    return " / ".join(text.splitlines()[-8:])[-400:]


def pixels(run: Path) -> bytes:
    """Of a run's picture; empty if there is none."""
    path = run / "image.png"
    if not path.is_file():
        return b""
    with Image.open(path) as image:
        return image.convert("RGB").tobytes()
