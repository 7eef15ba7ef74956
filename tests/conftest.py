"""Fixtures for all tests: random images, and an encoder small enough to run in microseconds."""

import logging
import os
from collections.abc import Callable

if "PYTEST_XDIST_WORKER" in os.environ:  # the processes share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from torch import Tensor, nn

from nst_exp.runner.network import clear_caches


class TinyEncoder(nn.Module):
    """Two frozen convolutions: image (1, 3, H, W) in 0..1 -> {"conv1", "relu1", "relu2"}."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 5, 3, stride=2, padding=1)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        conv1 = self.conv1(image - 0.5)
        relu1 = conv1.relu()
        return {"conv1": conv1, "relu1": relu1, "relu2": self.conv2(relu1).relu()}

    maps_on_demand = forward


@pytest.fixture(autouse=True)
def independent(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees a network or the console of another, or the user's own folder of images."""
    monkeypatch.delenv("NST_EXP_DATA", raising=False)
    monkeypatch.setattr(logging.getLogger("nst_exp"), "handlers", [])
    clear_caches()


@pytest.fixture
def tiny_encoder() -> TinyEncoder:
    return TinyEncoder()


@pytest.fixture
def random_image() -> Callable[..., Tensor]:
    """``random_image(height, width, seed=0, dtype=torch.float32)`` -> (1, 3, H, W) in 0..1."""

    def make(
        height: int = 8, width: int = 8, seed: int = 0, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(1, 3, height, width, generator=generator, dtype=torch.float64).to(dtype)

    return make
