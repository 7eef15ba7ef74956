"""What the tests of weights share: random trunks, and a web server that misbehaves on demand."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
from torch import Tensor

from nst_exp.weights.architecture import trunk

NAME = "squeezenet1_1"  # 2.9 MB without its classifier


class FaultyServer(ThreadingHTTPServer):
    """Serves ``content`` at every path; each request uses up one of ``faults`` first."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = b""
        self.faults: list[str] = []
        self.ranges: list[str | None] = []  # the Range header of each request
        self.honours_range = True
        self.released = threading.Event()  # ends a stall

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.pth"


class _Handler(BaseHTTPRequestHandler):
    server: FaultyServer

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        fault = self.server.faults.pop(0) if self.server.faults else ""
        if fault.isdigit():
            self.send_error(int(fault))
            return
        content = self.server.content
        if fault == "html":
            content = b"<!DOCTYPE html><title>Log in</title>"
        elif fault == "flip":
            content = bytes([content[0] ^ 1]) + content[1:]
        start = int(re.findall(r"\d+", wanted)[0]) if wanted and self.server.honours_range else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if fault in ("cut", "stall"):
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            if fault == "stall":
                self.server.released.wait(30)
            return
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def random_state(name: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        key: torch.rand(like.shape, generator=generator)
        if like.is_floating_point()
        else torch.zeros(like.shape, dtype=like.dtype)
        for key, like in trunk(name).items()
    }


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
