"""Downloads from a server that misbehaves."""

from __future__ import annotations

import hashlib
import shutil
import socket
import time
from pathlib import Path

import pytest

from nst_exp.utils import download as module
from nst_exp.utils.download import download
from nst_exp.utils.errors import WeightsError
from tests.faults.server import FaultyServer

CONTENT = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _content(server: FaultyServer) -> None:
    server.content = CONTENT


def test_whole(server: FaultyServer, tmp_path: Path) -> None:
    assert download(server.url, tmp_path / "w", SHA256) == SHA256
    assert (tmp_path / "w").read_bytes() == CONTENT
    assert server.ranges == [None]


def test_a_published_prefix_is_enough(server: FaultyServer, tmp_path: Path) -> None:
    assert download(server.url, tmp_path / "w", SHA256[:8]) == SHA256


@pytest.mark.parametrize("code", ["404", "403", "410"])
def test_refusals_are_final(server: FaultyServer, tmp_path: Path, code: str) -> None:
    server.faults = [code] * 9
    with pytest.raises(WeightsError, match=f"HTTP {code}"):
        download(server.url, tmp_path / "w", SHA256)
    assert len(server.ranges) == 1


def test_passing_troubles_are_tried_again(server: FaultyServer, tmp_path: Path) -> None:
    server.faults = ["503", "500"]
    assert download(server.url, tmp_path / "w", SHA256) == SHA256
    server.faults = ["503"] * 9
    with pytest.raises(WeightsError, match=r"HTTP 503 .*\(3 tries\)"):
        download(server.url, tmp_path / "v", SHA256)


def test_a_cut_transfer_is_resumed(server: FaultyServer, tmp_path: Path) -> None:
    server.faults = ["cut", "cut"]
    assert download(server.url, tmp_path / "w", SHA256) == SHA256
    half, three_quarters = len(CONTENT) // 2, 3 * len(CONTENT) // 4
    assert server.ranges == [None, f"bytes={half}-", f"bytes={three_quarters}-"]


def test_a_server_that_cannot_resume_starts_again(server: FaultyServer, tmp_path: Path) -> None:
    server.honours_range = False
    server.faults = ["cut"]
    assert download(server.url, tmp_path / "w", SHA256) == SHA256


def test_always_cut(server: FaultyServer, tmp_path: Path) -> None:
    server.faults = ["cut"] * 9
    with pytest.raises(WeightsError, match=rf"broke off after \d+ of {len(CONTENT)} bytes"):
        download(server.url, tmp_path / "w", SHA256)
    assert (tmp_path / "w").exists()  # for the next call to go on from


def test_a_stall_ends(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
    server.faults = ["stall"] * 9
    start = time.monotonic()
    with pytest.raises(WeightsError, match=r"no answer for 0\.2 s"):
        download(server.url, tmp_path / "w", SHA256)
    assert time.monotonic() - start < 3


def test_a_stall_loses_nothing(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
    server.faults = ["stall"]
    assert download(server.url, tmp_path / "w", SHA256) == SHA256
    assert server.ranges == [None, f"bytes={len(CONTENT) // 2}-"]


def test_a_flipped_bit(server: FaultyServer, tmp_path: Path) -> None:
    server.faults = ["flip"] * 9
    with pytest.raises(WeightsError, match=rf"SHA-256 is \w+\.\.\., should be {SHA256[:16]}"):
        download(server.url, tmp_path / "w", SHA256)
    assert not (tmp_path / "w").exists()
    assert len(server.ranges) == 1


def test_a_login_page(server: FaultyServer, tmp_path: Path) -> None:
    server.faults = ["html"]
    with pytest.raises(WeightsError, match="a web page"):
        download(server.url, tmp_path / "w", SHA256)
    assert not (tmp_path / "w").exists()


def test_a_spoilt_beginning_is_fetched_again(server: FaultyServer, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"spoilt")
    assert download(server.url, tmp_path / "w", SHA256) == SHA256
    assert server.ranges == ["bytes=6-", None]


def test_a_complete_file_is_recognized(server: FaultyServer, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(CONTENT)
    assert download(server.url, tmp_path / "w", SHA256) == SHA256
    (tmp_path / "w").write_bytes(CONTENT + b"too long")
    assert download(server.url, tmp_path / "w", SHA256) == SHA256
    assert (tmp_path / "w").read_bytes() == CONTENT


def test_refused_connection(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(WeightsError, match="the connection failed: Connection refused"):
        download(f"http://127.0.0.1:{port}/w", tmp_path / "w", SHA256)


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def no_names(*_: object, **__: object) -> None:
        calls.append(1)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_names)
    with pytest.raises(WeightsError, match="no network: Name or service not known"):
        download("https://weights.invalid/w.pth", tmp_path / "w", SHA256)
    assert len(calls) == 1


def test_no_space(server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil._ntuple_diskusage(total=9, used=8, free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match="0 MB needed, 0 MB free"):
        download(server.url, tmp_path / "w", SHA256)
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://host/w.pth", ""])
def test_only_http(tmp_path: Path, url: str) -> None:
    with pytest.raises(WeightsError, match="only http and https"):
        download(url, tmp_path / "w", SHA256)


@pytest.mark.parametrize(
    "url", ["http://[::1/w.pth", "http://", "http://127.0.0.1:9/ü.pth", "http://127.0.0.1:x/w"]
)
def test_addresses_that_are_none(tmp_path: Path, url: str) -> None:
    with pytest.raises(WeightsError):
        download(url, tmp_path / "w", SHA256)


def test_redirections_stay_on_the_web(server: FaultyServer, tmp_path: Path) -> None:
    server.faults = [f"to:{server.url}"]
    assert download(server.url, tmp_path / "w", SHA256) == SHA256
    for place in ("file:///etc/hostname", "data:,weights"):
        server.faults = [f"to:{place}"]
        with pytest.raises(WeightsError, match=r"HTTP 302 .* not allowed"):
            download(server.url, tmp_path / "v", SHA256)
    server.faults = ["to:/again"] * 30
    with pytest.raises(WeightsError, match="infinite loop") as caught:
        download(server.url, tmp_path / "v", SHA256)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize(
    ("asked", "found", "followed"),
    [
        ("https://a/w", "https://b/w", True),
        ("http://a/w", "https://b/w", True),
        ("https://a/w", "http://b/w", False),
        ("https://a/w", "ftp://b/w", False),
    ],
)
def test_where_a_redirection_may_lead(asked: str, found: str, followed: bool) -> None:
    if followed:
        module._refuse_other_kinds(asked, found)
    else:
        with pytest.raises(module._TransferError, match="not followed"):
            module._refuse_other_kinds(asked, found)


def test_a_transfer_without_an_end(server: FaultyServer, tmp_path: Path) -> None:
    server.faults = ["endless"] * 9
    with pytest.raises(WeightsError, match="larger than 12 MB"):
        download(server.url, tmp_path / "w", SHA256, megabytes=1)
    assert (tmp_path / "w").stat().st_size < 14_000_000
    assert len(server.ranges) == 1


def test_a_byte_now_and_then(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.15)
    server.faults = ["drip"] * 9
    start = time.monotonic()
    with pytest.raises(WeightsError, match=r"no more than \d+ bytes in 0\.15 s"):
        download(server.url, tmp_path / "w", SHA256)
    assert time.monotonic() - start < 5


def test_another_part_than_asked_for(server: FaultyServer, tmp_path: Path) -> None:
    server.faults = ["part", "cut", "part"]  # the first of them where nothing is there yet
    with pytest.raises(WeightsError, match="another part of the file"):
        download(server.url, tmp_path / "w", SHA256)
    assert not (tmp_path / "w").exists()
    assert download(server.url, tmp_path / "w", SHA256) == SHA256


def test_more_and_less_announced_than_there_is(server: FaultyServer, tmp_path: Path) -> None:
    server.faults = ["long"]
    assert download(server.url, tmp_path / "w", SHA256) == SHA256
    server.faults = ["short"]
    with pytest.raises(WeightsError, match="wrong content"):
        download(server.url, tmp_path / "v", SHA256)
