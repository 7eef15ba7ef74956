"""Every loss preset against the published formula, written out with NumPy in float64.

The formulas are those of the papers and programs that the presets are named after, with their
weights: what is compared is the whole total, so alpha and beta of the preset count as well.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from nst_exp.api import make_config
from nst_exp.config import Config
from nst_exp.objective import Losses, Objective

Array = NDArray[np.float64]
Maps = dict[str, Tensor]
# Channels and size of each layer's map, small and all different; the style has another size.
SHAPES = {
    "relu1_1": (2, 6, 7),
    "relu2_1": (3, 5, 6),
    "relu3_1": (4, 4, 3),
    "relu4_1": (5, 3, 3),
    "relu4_2": (5, 3, 3),
    "relu5_1": (6, 2, 1),
    "conv1_1": (2, 6, 7),
    "conv1_2": (2, 6, 7),
    "conv2_1": (3, 5, 6),
    "conv2_2": (3, 5, 6),
    "conv3_1": (4, 4, 3),
}
STYLE = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]


def random_maps(seed: int, grow: int = 0) -> Maps:
    generator = torch.Generator().manual_seed(seed)
    return {
        layer: torch.randn(1, n, h + grow, w + grow, dtype=torch.float64, generator=generator)
        for layer, (n, h, w) in SHAPES.items()
    }


def matrix(features: Tensor) -> Array:
    """F: channels by positions."""
    return np.asarray(features[0].flatten(1).numpy(), dtype=np.float64)


def mse(x: Array, y: Array) -> float:
    return float(np.mean((x - y) ** 2))


class Case:
    """Random feature maps of image, content and style, and what a preset makes of them."""

    def __init__(self, name: str, image: Tensor) -> None:
        self.config: Config = make_config([f"loss={name}"])
        self.image = image
        self.features, self.content, self.style = random_maps(1), random_maps(2), random_maps(3, 2)
        loss = self.config.loss
        loss.content.layers = loss.content.layers or self.config.backbone.content_layers
        loss.style.layers = loss.style.layers or self.config.backbone.style_layers
        weights = self.config.alpha, self.config.beta
        objective = Objective(loss, *weights, self.content, self.style)
        self.losses: Losses = objective(image, self.features)

    def F(self, layer: str) -> Array:
        return matrix(self.features[layer])

    def P(self, layer: str) -> Array:
        return matrix(self.content[layer])

    def S(self, layer: str) -> Array:
        return matrix(self.style[layer])

    def total(self) -> float:
        """Without the terms that none of the publications has."""
        loss = self.config.loss
        return float(self.losses.total - loss.range_weight * self.losses.range)


@pytest.fixture
def case(random_image: Callable[..., Tensor]) -> Callable[[str], Case]:
    return lambda name: Case(name, random_image(6, 7, dtype=torch.float64))


def test_paper_text(case: Callable[[str], Case]) -> None:
    """Gatys et al. 2016, Eq. 1, 4, 5, 7. Only the ratio alpha/beta is the preset's own."""
    c = case("paper_text")
    content = 0.5 * np.sum((c.F("relu4_2") - c.P("relu4_2")) ** 2)
    style = 0.0
    for layer in STYLE:
        f, s = c.F(layer), c.S(layer)
        n, m = f.shape
        # The paper brings the style to the image's size first; here its Gram matrix is.
        g, a = f @ f.T, s @ s.T * (m / s.shape[1])
        style += 1 / 5 * np.sum((g - a) ** 2) / (4 * n**2 * m**2)
    assert float(c.losses.content) == pytest.approx(content, rel=1e-10)
    assert float(c.losses.style) == pytest.approx(style, rel=1e-10)
    expected = c.config.alpha * content + c.config.beta * style
    assert c.total() == pytest.approx(expected, rel=1e-10)


def test_paper_code(case: Callable[[str], Case]) -> None:
    """leongatys/PytorchNeuralStyleTransfer: GramMatrix divides by h w; MSELoss; 1e3 / n^2; 1e0."""
    c = case("paper_code")
    expected = mse(c.F("relu4_2"), c.P("relu4_2"))
    for layer in STYLE:
        f, s = c.F(layer), c.S(layer)
        expected += 1e3 / len(f) ** 2 * mse(f @ f.T / f.shape[1], s @ s.T / s.shape[1])
    assert c.total() == pytest.approx(expected, rel=1e-10)


def test_tutorial(case: Callable[[str], Case]) -> None:
    """PyTorch's tutorial: gram / (a b c d); F.mse_loss; style_weight=1e6, content_weight=1."""
    c = case("tutorial")
    expected = mse(c.F("conv2_2"), c.P("conv2_2"))
    for layer in ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1"):
        f, s = c.F(layer), c.S(layer)
        expected += 1e6 * mse(f @ f.T / f.size, s @ s.T / s.size)
    assert c.total() == pytest.approx(expected, rel=1e-10)


def test_jcjohnson(case: Callable[[str], Case]) -> None:
    """neural_style.lua: gram / nElement; MSECriterion; 5, 100, and 1e-3 for 1/2 sum d^2.

    Its total variation leaves out the differences along the last row and column, and counts
    pixels in 0..256; the preset's counts them all, in 0..255.
    """
    c = case("jcjohnson")
    expected = 5 * mse(c.F("relu4_2"), c.P("relu4_2"))
    for layer in STYLE:
        f, s = c.F(layer), c.S(layer)
        expected += 100 * mse(f @ f.T / f.size, s @ s.T / s.size)
    x = 255 * c.image[0].numpy()
    squares = np.sum(np.diff(x, axis=1) ** 2) + np.sum(np.diff(x, axis=2) ** 2)
    expected += 1e-3 * 0.5 * squares
    assert c.total() == pytest.approx(expected, rel=1e-10)


def test_default(case: Callable[[str], Case]) -> None:
    """Each distance relative to the size of its target, Gram matrices per position."""
    c = case("default")
    content = sum(
        np.sum((c.F(layer) - c.P(layer)) ** 2) / np.sum(c.P(layer) ** 2)
        for layer in c.config.backbone.content_layers
    )
    style = 0.0
    for layer in c.config.backbone.style_layers:
        f, s = c.F(layer), c.S(layer)
        g, a = f @ f.T / f.shape[1], s @ s.T / s.shape[1]
        style += np.sum((g - a) ** 2) / np.sum(a**2)
    x = c.image[0].numpy()
    tv = (np.sum(np.diff(x, axis=1) ** 2) + np.sum(np.diff(x, axis=2) ** 2)) / x.size
    expected = c.config.alpha * content + c.config.beta * style + c.config.loss.tv.weight * tv
    assert c.total() == pytest.approx(expected, rel=1e-10)


def test_the_same_preset_gives_jcjohnson_and_the_papers_code_up_to_the_weight(
    case: Callable[[str], Case],
) -> None:
    """G/M with a weight of 1/N^2 and G/(N M) with a mean are the same number."""
    a, b = case("paper_code").losses, case("jcjohnson").losses
    assert float(a.style) == pytest.approx(float(b.style), rel=1e-12)
    assert float(a.content) == pytest.approx(float(b.content), rel=1e-12)
