"""Downloads from a server that misbehaves."""

from __future__ import annotations

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
        [],
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
        ("403", "HTTP 403 Forbidden", 1),
        ("503", r"HTTP 503 Service Unavailable \(3 tries\)", 3),
        ("cut", rf"the connection failed: .*{HALF} bytes read.* \(3 tries\)", 3),
        ("stall", r"no answer for 0\.2 s \(3 tries\)", 3),
        ("endless", "the file is larger than 1 MB", 1),
        ("to:file:///etc/hostname", "file:///etc/hostname", 1),
        ("to:data:,weights", "data:,weights", 1),
        ("to:/again", "30 redirects", 31),
    ],
)
def test_failure_leaves_no_file(
    server: FaultyServer, tmp_path: Path, fault: str, message: str, requests_made: int
) -> None:
    server.faults = [fault] * 40
    start = time.monotonic()
    with pytest.raises(DownloadError, match=f"^.*{message}") as caught:
        download(server.url, tmp_path / "w")
    assert "\n" not in str(caught.value)
    assert len(server.requests) == requests_made
    assert list(tmp_path.iterdir()) == []
    assert time.monotonic() - start < 4


@pytest.mark.slow
def test_server_that_is_too_slow(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 40_000)  # takes the server 0.8 s, in pieces of 0.1 s
    server.faults = ["slow"] * 9
    with pytest.raises(DownloadError, match=r"no answer for 0\.2 s"):
        download(server.url, tmp_path / "w")


def test_announced_size_is_checked_first(server: FaultyServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"the file is larger than 0\.01 MB"):
        download(server.url, tmp_path / "w", max_bytes=10_000)


def test_no_space(server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil._ntuple_diskusage(total=9, used=8, free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match="0 MB needed, 0 MB free"):
        download(server.url, tmp_path / "w")
    assert list(tmp_path.iterdir()) == []


def test_refused_connection(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/w"
        with pytest.raises(DownloadError, match="the connection failed: Connection refused"):
            download(url, tmp_path / "w")


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fail(*_: object, **__: object) -> None:
        calls.append(1)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(DownloadError, match="no network: Name or service not known"):
        download("https://weights.invalid/w.pth", tmp_path / "w")
    assert len(calls) == 1  # not a transient error


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/hostname",
        "ftp://host/w",
        "",
        "http://[::1/w",
        "http://",
        "http://127.0.0.1:x/w",
    ],
)
def test_invalid_addresses(tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError):
        download(url, tmp_path / "w")


@pytest.mark.parametrize(
    ("asked", "location", "allowed"),
    [
        ("https://a/w", "https://b/w", True),
        ("https://a/w", "/other", True),
        ("http://a/w", "https://b/w", True),
        ("https://a/w", "http://b/w", False),
        ("https://a/w", "ftp://b/w", False),
    ],
)
def test_redirections_keep_encryption(
    tmp_path: Path, asked: str, location: str, allowed: bool
) -> None:
    limited = module._LimitedFile(io.BytesIO(), tmp_path, max_bytes=1, timeout_s=1.0)
    response = requests.Response()
    response.status_code, response.url = 302, asked
    response.headers["Location"] = location
    if allowed:
        limited.check_response(response)
    else:
        with pytest.raises(DownloadError, match="which is not allowed"):
            limited.check_response(response)
