"""The order of the sources, the cache and what can happen to it."""

import errno
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
from torch import Tensor
from weight_helpers import NAME, same

from nst_exp.config.schema import Backbone, WeightSource
from nst_exp.utils.errors import ConfigError, OutputError, WeightsError
from nst_exp.utils.paths import cache_folder
from nst_exp.weights import cache, load_weights
from tests.faults.server import FaultyServer

State = dict[str, Tensor]

CHILD = """
import sys
from nst_exp.config.schema import Backbone, WeightSource
from nst_exp.weights import load_weights
source = WeightSource(url=sys.argv[1], sha256=sys.argv[2])
loaded = load_weights(Backbone(name="squeezenet1_1", sources=[source]))
print(loaded.source.split()[0], loaded.state_dict["features.0.weight"].sum().item())
"""


def start_child(backbone: Backbone) -> subprocess.Popen[str]:
    source = backbone.sources[0]
    command = [sys.executable, "-c", CHILD, source.url, source.sha256]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [entry.getMessage() for entry in caplog.records if entry.levelno == logging.WARNING]


def test_fetched_once_then_cached(
    backbone: Backbone, server: FaultyServer, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "nst_exp")
    full = backbone.sources[0].sha256
    first = load_weights(backbone)
    assert caplog.messages == [f"fetching {server.url}"]
    assert same(first.state_dict, state)
    assert (first.source, first.sha256, first.credit) == (server.url, full, "the authors")
    (path,) = cache.entries()
    assert path.name == f"{NAME}-{full[:16]}.safetensors"
    assert same(safetensors.torch.load_file(path), state)
    assert not list((cache_folder() / "downloads").glob("*/"))

    backbone.sources[0].sha256 = full[:8].upper()  # a published prefix finds it too
    second = load_weights(backbone)
    assert same(second.state_dict, state)
    assert second.source == f"cache {path} (from {server.url})"
    assert (second.sha256, second.credit) == (full, "the authors")
    assert len(server.requests) == 1


def test_own_file_is_used_alone(
    backbone: Backbone, server: FaultyServer, tmp_path: Path, published_file: bytes
) -> None:
    own = tmp_path / "own.pth"
    backbone.file = str(own)
    with pytest.raises(WeightsError, match=rf"^backbone\.file={own}: cannot be read \(No such"):
        load_weights(backbone)
    own.write_bytes(published_file)
    loaded = load_weights(backbone)
    assert (loaded.source, loaded.sha256) == (f"file {own}", backbone.sources[0].sha256)
    assert server.requests == []
    assert cache.entries() == []


@pytest.mark.parametrize("damaged", [False, True])
def test_download_of_torchvision(
    backbone: Backbone,
    server: FaultyServer,
    tmp_path: Path,
    published_file: bytes,
    damaged: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A file in $TORCH_HOME is used instead of a download, if its hash is right."""
    place = tmp_path / "torch" / "hub" / "checkpoints" / "weights.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"damaged" if damaged else published_file)
    loaded = load_weights(backbone)
    assert loaded.source == (server.url if damaged else f"file {place}")
    assert len(server.requests) == damaged
    assert (f"{place} is not used: wrong content" in caplog.text) == damaged


def test_sources_in_order_until_all_fail(
    backbone: Backbone, server: FaultyServer, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    gone = replace(backbone.sources[0], url=server.url + "?gone")
    backbone.sources.insert(0, gone)
    server.faults = ["404", "html"]
    with pytest.raises(WeightsError) as caught:
        load_weights(backbone)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"backbone.name={NAME}: its weights are not available:"
    assert lines[1] == f"  {gone.url}: HTTP 404 Not Found"
    assert lines[2].startswith(f"  {server.url}: wrong content (a web page")
    advice = "\n".join(lines[3:])
    for words in ("fetch PRESET", str(cache_folder()), "backbone.file=PATH", "backbone=vgg16"):
        assert words in advice
    assert caught.value.exit_code == 4
    caplog.clear()
    server.faults = ["404"]
    assert same(load_weights(backbone).state_dict, state)
    assert warnings_in(caplog) == [f"{gone.url}: HTTP 404 Not Found"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": []}, "sources is empty"),
        ({"sources": [WeightSource(url="http://127.0.0.1:1/w.pth")]}, "without a hash are not fet"),
        ({"sources": [WeightSource(url="http://host/..", sha256="0" * 8)]}, "names no file"),
        ({"name": "vgg91"}, "did you mean 'vgg19'"),
        ({"file": "~nobody-of-that-name/w.pth"}, "No such file"),
    ],
)
def test_requests_that_cannot_work(
    backbone: Backbone, server: FaultyServer, changes: dict[str, object], message: str
) -> None:
    with pytest.raises((ConfigError, WeightsError), match=message):
        load_weights(replace(backbone, **changes))
    assert server.requests == []
    assert cache.entries() == []


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def rewrite(path: Path, **entries: str) -> None:
    """Write an intact file with another record instead of ``path``."""
    record, tensors = cache.read(path)
    cache.write(replace(record, **entries), tensors).replace(path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        pytest.param(flip, "its SHA-256 is", id="bit of a tensor"),
        pytest.param(lambda path: os.truncate(path, 9000), "damaged", id="cut off"),
        pytest.param(lambda path: os.truncate(path, 0), "damaged", id="empty"),
        pytest.param(
            lambda path: path.write_bytes(b"\0\0\1\0\0\0\0\0" + b"[" * 65536), "damaged", id="["
        ),
        pytest.param(
            lambda path: safetensors.torch.save_file(cache.read(path)[1], path),
            "its record is missing",
            id="without record",
        ),
        pytest.param(lambda p: rewrite(p, name="vgg16"), "it holds vgg16", id="network"),
        pytest.param(
            lambda p: rewrite(p, source_sha256="0" * 64), "it holds squeeze", id="other source"
        ),
        pytest.param(lambda p: rewrite(p, version="1"), "another version", id="other version"),
    ],
)
def test_a_damaged_cache_is_healed(
    backbone: Backbone,
    server: FaultyServer,
    state: State,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
    reason: str,
) -> None:
    load_weights(backbone)
    (path,) = cache.entries()
    damage(path)
    assert same(load_weights(backbone).state_dict, state)
    (warning,) = warnings_in(caplog)
    assert warning.startswith(f"cached weights {path} are not used: ")
    assert reason in warning
    assert load_weights(backbone).source.startswith("cache ")
    assert len(server.requests) == 2


def test_a_cache_that_cannot_be_used(
    backbone: Backbone,
    server: FaultyServer,
    state: State,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Weights are then converted elsewhere: no folder, a full disk, a disk that becomes full."""
    (tmp_path / "file").touch()
    with monkeypatch.context() as patched:
        patched.setenv("NST_EXP_CACHE", str(tmp_path / "file" / "cache"))
        assert same(load_weights(backbone).state_dict, state)
    assert "cannot be used (Not a directory)" in caplog.text

    real = shutil.disk_usage

    def usage(path: Path) -> object:
        full = Path(path).is_relative_to(tmp_path / "cache")
        return shutil._ntuple_diskusage(9, 9, 0) if full else real(path)

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", usage)
        assert same(load_weights(backbone).state_dict, state)
    assert "3 MB needed, 0 MB free" in caplog.text

    for error in (OSError(errno.ENOSPC, "No space left"), OutputError("full")):

        def refuse(*_: object, error: Exception = error) -> None:
            raise error

        server.expect()
        monkeypatch.setattr(cache, "write_bytes_atomically", refuse)
        assert same(load_weights(backbone).state_dict, state)
        assert "are not kept" in warnings_in(caplog)[-1]
        assert len(server.requests) == 1
    assert cache.entries() == []


@pytest.mark.slow
def test_first_uses_at_once_make_one_download(
    backbone: Backbone, server: FaultyServer, state: State
) -> None:
    server.faults = ["slow"]  # the other process comes during the download
    children = [start_child(backbone) for _ in range(2)]
    lines = [child.communicate(timeout=120)[0].split() for child in children]
    assert len(server.requests) == 1
    origins, sums = zip(*lines, strict=True)
    assert sorted(origins) == ["cache", server.url]
    assert {float(found) for found in sums} == {state["features.0.weight"].sum().item()}


@pytest.mark.slow
def test_kill_9_in_a_download(backbone: Backbone, server: FaultyServer, state: State) -> None:
    server.faults = ["stall"]
    child = start_child(backbone)
    folder = cache_folder() / "downloads" / cache.stem(NAME, backbone.sources[0].sha256)
    deadline = time.monotonic() + 60
    while sum(file.stat().st_size for file in folder.glob("*.pth")) < len(server.content) // 4:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.kill()
    child.communicate()
    server.released.set()
    assert same(load_weights(backbone).state_dict, state)  # the lock is free again
    assert not folder.exists()
