"""Every test of weights has a cache and a server of its own."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from weight_helpers import NAME, random_state

from nst_exp.config.schema import Backbone, WeightSource
from nst_exp.utils import download
from tests.faults.server import FaultyServer, serving


@pytest.fixture(autouse=True)
def _own_folders(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hide the user's cache from all tests but those of the real weights."""
    if request.node.get_closest_marker("network"):
        return
    monkeypatch.setenv("NST_EXP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(download, "PAUSE_S", 0.01)


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving() as instance:
        yield instance


@pytest.fixture(scope="session")
def state() -> dict[str, Tensor]:
    """A random trunk of ``NAME``."""
    return random_state(NAME)


@pytest.fixture(scope="session")
def published_file(state: dict[str, Tensor]) -> bytes:
    """``state`` as a .pth file."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@pytest.fixture
def backbone(server: FaultyServer, published_file: bytes) -> Backbone:
    """``NAME`` with the server as its only source."""
    server.content = published_file
    digest = hashlib.sha256(published_file).hexdigest()
    source = WeightSource(url=server.url, sha256=digest, credit="the authors")
    return Backbone(name=NAME, sources=[source])
