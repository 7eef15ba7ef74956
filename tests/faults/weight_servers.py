"""Faults of servers, networks and of what is published."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable

import torch

from tests.faults.weight_trial import MARGIN_S, TIMEOUT_S, Trial, torch_file

Fault = Callable[[Trial], None]


# Servers and networks


def fails(*faults: str, words: str = "", more: str = "") -> Fault:
    """All tries meet the fault: an error, no later than all tries' time-outs."""

    def trial(t: Trial) -> None:
        t.server.expect(*faults)
        begun = time.monotonic()
        t.ends(t.start(t.source(more=more)), 4, [words, t.server.url])
        t.require(time.monotonic() - begun < 3 * 2 * TIMEOUT_S + MARGIN_S, "it took too long")
        t.require(not t.cached.exists(), "a file is in the cache")
        t.server.released.set()
        t.healed()

    return trial


def heals(*faults: str, ranges: int = 0) -> Fault:
    """The run itself gets over the fault; the last ``ranges`` requests go on where it broke."""

    def trial(t: Trial) -> None:
        t.server.expect(*faults)
        t.ends(t.start(), 0)
        resumed = [wanted for wanted in t.server.ranges if wanted]
        t.require(len(resumed) == ranges, f"{len(resumed)} resumed, not {ranges}")
        t.server.released.set()
        t.healed(requests=0)

    return trial


def no_dns(t: Trial) -> None:
    def names_fail() -> None:
        def refuse(*_: object, **__: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        socket.getaddrinfo = refuse  # type: ignore[assignment]

    url = "https://weights.invalid/w.pth"
    t.ends(t.start(t.source(url=url), before=names_fail), 4, ["no network", url])
    t.healed(requests=1)


def refused(t: Trial) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/w.pth"
        t.ends(t.start(t.source(url=url)), 4, ["Connection refused", url])
    t.healed(requests=1)


def address(url: str, words: str) -> Fault:
    def trial(t: Trial) -> None:
        t.ends(t.start(t.source(url=url)), 4, [words])
        t.healed(requests=1)

    return trial


def redirected(t: Trial) -> None:
    t.server.expect(f"to:{t.server.url}")
    t.ends(t.start(), 0)
    t.healed(requests=0)


def no_range(t: Trial) -> None:
    t.server.expect("cut")
    t.server.honours_range = False
    t.ends(t.start(), 0)
    t.healed(requests=0)


def no_hash(t: Trial) -> None:
    t.server.expect()
    t.ends(t.start(f"backbone.sources=[{{url:'{t.server.url}'}}]"), 4, ["without a hash"])
    t.require(not t.server.ranges, "it was fetched all the same")
    t.healed()


# What is published


def published(make: Callable[[Trial], bytes], words: str) -> Fault:
    """The file is the one with the hash asked for, and is no good."""

    def trial(t: Trial) -> None:
        content = make(t)
        t.server.expect()
        t.server.content = content
        t.ends(t.start(t.source(content)), 4, [words])
        t.require(not list(t.cache.rglob("*.safetensors")), "it is in the cache")
        t.server.content = t.good
        t.healed(requests=1)

    return trial


def own_file(make: Callable[[Trial], bytes], words: str, suffix: str = ".pth") -> Fault:
    """The same as ``backbone.file``."""

    def trial(t: Trial) -> None:
        path = t.folder / f"own{suffix}"
        path.write_bytes(make(t))
        t.ends(t.start(f"backbone.file={path}"), 4, [f"backbone.file={path}", words], advice=False)
        path.unlink()
        t.healed(requests=1)

    return trial


def not_finite(t: Trial) -> bytes:
    state = torch.load(io.BytesIO(t.good), weights_only=True)
    state["features.3.squeeze.bias"][1] = float("nan")
    return torch_file(state)


def one_too_few(t: Trial) -> bytes:
    state = torch.load(io.BytesIO(t.good), weights_only=True)
    state.pop("features.3.squeeze.bias")
    return torch_file(state)
