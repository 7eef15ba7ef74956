"""A web server that misbehaves on demand, for tests of downloads."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = b"<!DOCTYPE html><title>Log in</title>"


class FaultyServer(ThreadingHTTPServer):
    """Serves ``content`` at every path; each request uses up one of ``faults`` first.

    A fault is the code of an HTTP error, or: "cut" (half of the content, then the connection ends),
    "stall" (half of it, then nothing until ``released``), "slow" (within two seconds), "flip" (one
    bit differs), "html" (a login page), "short" (1,000 bytes are missing, which the header hides),
    "long" (1,000 bytes too many are announced), "endless", "to:URL" (a redirection).
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = b""
        self.faults: list[str] = []
        self.requests: list[str] = []  # the paths
        self.released = threading.Event()  # ends a stall

    @property
    def url(self) -> str:
        """Address of the file that is served."""
        return f"http://127.0.0.1:{self.server_port}/weights.pth"

    def expect(self, *faults: str) -> None:
        """Forget the requests so far; the next ones meet these faults."""
        self.faults, self.requests = list(faults), []
        self.released.clear()


@contextmanager
def serving() -> Iterator[FaultyServer]:
    """Run a server in a thread of its own."""
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
        server.requests.append(self.path)
        fault = server.faults.pop(0) if server.faults else ""
        if fault.isdigit():
            self.send_error(int(fault))
            return
        if fault.startswith("to:"):
            self.send_response(302)
            self.send_header("Location", fault.removeprefix("to:"))
            self.end_headers()
            return
        content = PAGE if fault == "html" else server.content
        if fault == "flip":
            content = bytes([content[0] ^ 1]) + content[1:]
        self.send_response(200)
        if fault != "endless":
            more = {"long": 1000, "short": -1000}.get(fault, 0)
            self.send_header("Content-Length", str(len(content) + more))
        self.end_headers()
        try:
            self._send(fault, content)
        except (BrokenPipeError, ConnectionResetError):  # the client has had enough
            self.close_connection = True

    def _send(self, fault: str, content: bytes) -> None:
        released = self.server.released
        if fault == "endless":
            while not released.is_set():
                self.wfile.write(bytes(1 << 20))
        elif fault == "slow":
            for start in range(0, len(content), len(content) // 20):
                self.wfile.write(content[start : start + len(content) // 20])
                released.wait(0.1)
        elif fault in ("cut", "stall"):
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            if fault == "stall":
                released.wait(30)
        else:
            self.wfile.write(content[:-1000] if fault == "short" else content)

    def log_message(self, format: str, *args: object) -> None:
        pass
