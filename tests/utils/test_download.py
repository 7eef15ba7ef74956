"""Downloads from a server that misbehaves."""

import functools
import io
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from nst_exp.utils import download as module
from nst_exp.utils.download import DownloadError
from tests.faults.server import FaultyServer, serving

CONTENT = bytes(range(256)) * 400
HALF = len(CONTENT) // 2
download = functools.partial(
    module.download, max_bytes=1_000_000, timeout_s=0.2, retries=2, user_agent="test"
)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.01)
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving() as instance:
        instance.content = CONTENT
        yield instance


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([], id="none"),
        pytest.param(["503", "500"], id="errors"),
        pytest.param(["cut", "cut"], id="connection cut twice"),
        pytest.param(["stall"], id="stall"),
        pytest.param(["long"], id="more announced than sent"),
    ],
)
def test_transient_errors_are_retried(
    server: FaultyServer, tmp_path: Path, faults: list[str]
) -> None:
    server.faults = list(faults)
    download(server.url, tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == CONTENT
    assert len(server.requests) == len(faults) + 1


@pytest.mark.parametrize(
    ("fault", "message", "requests_made"),
    [
        ("404", "HTTP 404 Not Found", 1),
        ("503", r"HTTP 503 Service Unavailable \(3 tries\)", 3),
        ("cut", rf"the connection failed: .*{HALF} bytes read.* \(3 tries\)", 3),
        ("stall", r"no answer for 0\.2 s \(3 tries\)", 3),
        ("endless", "the file is larger than 1 MB", 1),
        ("to:file:///etc/hostname", "file:///etc/hostname", 1),
        ("to:/again", "30 redirects", 31),
    ],
)
def test_failures(
    server: FaultyServer, tmp_path: Path, fault: str, message: str, requests_made: int
) -> None:
    server.faults = [fault] * 40
    start = time.monotonic()
    with pytest.raises(DownloadError, match=f"^.*{message}") as caught:
        download(server.url, tmp_path / "w")
    assert "\n" not in str(caught.value)
    assert len(server.requests) == requests_made
    assert time.monotonic() - start < 4


def test_server_that_is_too_slow(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 40_000)  # takes the server 0.8 s, in pieces of 0.1 s
    server.faults = ["slow"]
    with pytest.raises(DownloadError, match=r"no answer for 0\.2 s"):
        download(server.url, tmp_path / "w", retries=0)


def test_announced_size_and_space_are_checked_first(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DownloadError, match=r"the file is larger than 0\.01 MB"):
        download(server.url, tmp_path / "w", max_bytes=10_000)
    usage = shutil._ntuple_diskusage(total=9, used=8, free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match="0 MB needed, 0 MB free"):
        download(server.url, tmp_path / "w")
    assert list(tmp_path.iterdir()) == []


def test_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/w"
        with pytest.raises(DownloadError, match="the connection failed: Connection refused"):
            download(url, tmp_path / "w")

    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(DownloadError, match=r"^no network: Name or service not known$"):
        download("https://weights.invalid/w.pth", tmp_path / "w")


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://host/w", "", "http://[::1/w"])
def test_invalid_addresses(tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError):
        download(url, tmp_path / "w")


@pytest.mark.parametrize(
    ("location", "allowed"),
    [("https://b/w", True), ("/other", True), ("http://b/w", False), ("HTTP://a/w", False)],
)
def test_redirections_keep_encryption(
    tmp_path: Path, location: str, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(_: object, request: requests.PreparedRequest, **__: object) -> requests.Response:
        response = requests.Response()
        response.request, response.url, response.raw = request, request.url, io.BytesIO(CONTENT)
        response.status_code = 302 if request.url == "https://a/w" else 200
        response.headers["Location"] = location
        return response

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    if allowed:
        download("https://a/w", tmp_path / "w")
        assert (tmp_path / "w").read_bytes() == CONTENT
    else:
        with pytest.raises(DownloadError, match=r"redirected to http://./w, which is not allowed"):
            download("https://a/w", tmp_path / "w")
