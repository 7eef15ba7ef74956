"""Every test of weights has a cache and a server of its own."""

from __future__ import annotations

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
    """No test but the real one sees the user's cache, and none waits between tries."""
    if request.node.get_closest_marker("network"):
        return
    monkeypatch.setenv("NST_EXP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(download, "PAUSE_S", 0.01)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Many small tensors: threads would mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
    return Backbone(
        name=NAME,
        sources=[
            WeightSource(
                url=server.url,
                sha256=hashlib.sha256(published_file).hexdigest(),
                credit="the authors",
            )
        ],
    )
