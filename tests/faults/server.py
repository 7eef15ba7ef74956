"""A web server that misbehaves on demand: for tests of downloads, and the proof of reliability."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = b"<!DOCTYPE html><title>Log in</title>"


class FaultyServer(ThreadingHTTPServer):
    """Serves ``content`` at every path; each request uses up one of ``faults`` first.

    A fault is a number (HTTP's code of an error) or one of

    ========  ============================================================================
    cut       half of what was asked for, then the connection ends
    stall     half of it, then nothing until ``released`` is set
    drip      half of it, then a byte every twentieth of a second
    slow      all of it, within two seconds
    flip      one bit of the content is another
    html      a login page
    short     less is announced, and sent, than there is
    long      a thousand bytes more are announced than there are
    endless   zeros without an end, of which nothing is announced
    part      another part of the file than was asked for
    to:URL    a redirection
    ========  ============================================================================
    """

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
        """Of the file that is served."""
        return f"http://127.0.0.1:{self.server_port}/weights.pth"

    def expect(self, *faults: str) -> None:
        """Forget the requests so far; the next ones meet these faults."""
        self.faults, self.ranges = list(faults), []
        self.honours_range = True
        self.released.clear()


@contextmanager
def serving() -> Iterator[FaultyServer]:
    """A server that runs in a thread of its own."""
    with FaultyServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: FaultyServer

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.ranges.append(wanted)
        fault = server.faults.pop(0) if server.faults else ""
        if fault.isdigit():
            self.send_error(int(fault))
            return
        if fault.startswith("to:"):
            self.send_response(302)
            self.send_header("Location", fault.removeprefix("to:"))
            self.end_headers()
            return
        content = _changed(server.content, fault)
        start = int(re.findall(r"\d+", wanted)[0]) if wanted and server.honours_range else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        if fault == "part":
            start = 7
        self._send_head(fault, start, len(content))
        try:
            self._send_body(fault, content[start:])
        except (BrokenPipeError, ConnectionResetError):  # the other side has had enough
            self.close_connection = True

    def _send_head(self, fault: str, start: int, length: int) -> None:
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{length - 1}/{length}")
        if fault != "endless":
            more = {"long": 1000, "short": -1000}.get(fault, 0)
            self.send_header("Content-Length", str(length - start + more))
        self.end_headers()

    def _send_body(self, fault: str, body: bytes) -> None:
        released = self.server.released
        if fault == "endless":
            while not released.is_set():
                self.wfile.write(bytes(1 << 20))
        elif fault == "slow":
            for piece in range(20):
                self.wfile.write(body[piece * len(body) // 20 : (piece + 1) * len(body) // 20])
                released.wait(0.1)
        elif fault in ("cut", "stall", "drip"):
            half = len(body) // 2
            self.wfile.write(body[:half])
            self.wfile.flush()
            if fault == "stall":
                released.wait(30)
            elif fault == "drip":
                for place in range(half, half + 600):
                    if released.wait(0.05):
                        break
                    self.wfile.write(body[place : place + 1])
        else:
            self.wfile.write(body[:-1000] if fault == "short" else body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _changed(content: bytes, fault: str) -> bytes:
    if fault == "html":
        return PAGE
    if fault == "flip":
        return bytes([content[0] ^ 1]) + content[1:]
    return content
