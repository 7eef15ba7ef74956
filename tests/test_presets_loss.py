"""Every loss preset against the published formula, rewritten with NumPy in float64.

The whole total is compared, so alpha and beta of the preset count as well. Feature maps and weights
are small and random; float64 and a few hundred additions in another order agree to 1e-10.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from nst_exp.app.api import make_config
from nst_exp.config.presets import groups
from nst_exp.config.schema import Config
from nst_exp.core.objective import Losses, build_objective
from nst_exp.core.terms import total_variation

Array = NDArray[np.float64]
Maps = dict[str, Tensor]
# Channels and size of each layer's map; those of the style image are larger by ``grow``.
SHAPES = {
    "relu1_1 conv1_1 conv1_2 relu1 out_0": (2, 6, 7),
    "relu2_1 conv2_1 conv2_2 out_1": (3, 5, 6),
    "relu3_1 conv3_1 fire3 out_3": (4, 4, 3),
    "relu4_1 relu4_2 conv4_1 conv4_2 fire4 out_4": (5, 3, 3),
    "relu5_1 conv5_1 fire5 out_5": (6, 2, 1),
    "fire2 out_2": (3, 4, 5),
}
STYLE = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]
EXACT = 1e-10


def random_maps(seed: int, grow: int = 0) -> Maps:
    generator = torch.Generator().manual_seed(seed)
    return {
        layer: torch.randn(1, n, h + grow, w + grow, dtype=torch.float64, generator=generator)
        for layers, (n, h, w) in SHAPES.items()
        for layer in layers.split()
    }


def matrix(features: Tensor) -> Array:
    """F: channels by positions."""
    return np.asarray(features[0].flatten(1).numpy(), dtype=np.float64)


def mse(x: Array, y: Array) -> float:
    return float(np.mean((x - y) ** 2))


def sse(x: Array, y: Array) -> float:
    return float(np.sum((x - y) ** 2))


def raw(f: Array) -> Array:
    """The Gram matrix as the paper prints it."""
    return f @ f.T


def over_positions(f: Array) -> Array:
    """Divided by h w."""
    return f @ f.T / f.shape[1]


def over_all(f: Array) -> Array:
    """Divided by the number of elements, c h w."""
    return f @ f.T / f.size


def sum_of_absolute_differences(x: Array) -> float:
    """Between neighbors of an image (3, H, W), to the right and below."""
    return float(np.sum(np.abs(np.diff(x, axis=1))) + np.sum(np.abs(np.diff(x, axis=2))))


def sum_of_squared_differences(x: Array) -> float:
    return float(np.sum(np.diff(x, axis=1) ** 2) + np.sum(np.diff(x, axis=2) ** 2))


class Case:
    """Random feature maps of image, content and style, and what a preset makes of them."""

    def __init__(self, name: str, image: Tensor, grow: int) -> None:
        self.config: Config = make_config([f"loss={name}"])
        self.image = image
        self.features, self.content = random_maps(1), random_maps(2)
        self.style = random_maps(3, grow)
        loss = self.config.loss
        loss.content.layers = loss.content.layers or self.config.backbone.content_layers
        loss.style.layers = loss.style.layers or self.config.backbone.style_layers
        weights = self.config.alpha, self.config.beta
        objective = build_objective(loss, *weights, self.content, self.style)
        self.losses: Losses = objective(image, self.features)

    def F(self, layer: str) -> Array:
        return matrix(self.features[layer])

    def P(self, layer: str) -> Array:
        return matrix(self.content[layer])

    def S(self, layer: str) -> Array:
        return matrix(self.style[layer])

    def both(self, layer: str, gram: Callable[[Array], Array]) -> tuple[Array, Array]:
        """Gram matrices of image and style."""
        return gram(self.F(layer)), gram(self.S(layer))

    def pixels(self) -> Array:
        return np.asarray(self.image[0].numpy(), dtype=np.float64)

    def total(self) -> float:
        """Without the terms that none of the publications has."""
        loss = self.config.loss
        return float(self.losses.total - loss.range_weight * self.losses.sums["range"])


MakeCase = Callable[..., Case]


@pytest.fixture
def case(random_image: Callable[..., Tensor]) -> MakeCase:
    """``case(name, grow=2)``; with grow=0 image and style have maps of the same size."""
    image = random_image(6, 7, dtype=torch.float64)
    return lambda name, grow=2: Case(name, image, grow)


def test_every_preset_has_a_case() -> None:
    tested = {name.removeprefix("test_") for name in globals()} | {*SIMPLE}
    assert {*groups()["loss"]} <= tested


def test_paper_text(case: MakeCase) -> None:
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
    assert float(c.losses.sums["content"]) == pytest.approx(content, rel=EXACT)
    assert float(c.losses.sums["style"]) == pytest.approx(style, rel=EXACT)
    expected = c.config.alpha * content + c.config.beta * style
    assert c.total() == pytest.approx(expected, rel=EXACT)


CONVOLUTIONS = ["conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"]
# Presets of the form: mean squared difference of the content + sum of weight times that of Gram
# matrices. Content layer, style layers, their weights as a function of F, Gram matrix.
Weight = Callable[[int, Array], float]
SIMPLE: dict[str, tuple[str, list[str], Weight, Callable[[Array], Array]]] = {
    # leongatys/PytorchNeuralStyleTransfer: GramMatrix divides by h w; 1e3 / n^2; 1e0.
    "paper_code": ("relu4_2", STYLE, lambda i, f: 1e3 / len(f) ** 2, over_positions),
    # leongatys/NeuralImageSynthesis: 1e6 and 1e9 / 5; a million times smaller in the preset, as if
    # for the network before its normalization.
    "paper_code_normalized": ("relu4_2", STYLE, lambda i, f: 1e3 / 5, over_positions),
    # PyTorch's tutorial: gram / (a b c d), style_weight=1e6, content_weight=1.
    "tutorial": (
        "conv2_2",
        ["conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1"],
        lambda i, f: 1e6,
        over_all,
    ),
    # The same with conv_10 for the content and conv_1, 3, 5, 9, 13 for the style.
    "tutorial_mended": ("conv4_2", CONVOLUTIONS, lambda i, f: 1e6, over_all),
    # The notebook: w * mean((G - A)^2) / (d h w), Gram undivided, images of one size.
    "udacity": (
        "relu4_2",
        STYLE,
        lambda i, f: 1e6 * (1.0, 0.75, 0.2, 0.2, 0.2)[i] / f.size,
        raw,
    ),
    # 10 * sum(MSELoss / n^2) + MSELoss of the third output; Gram undivided; images of one size.
    "resnet_post": ("out_2", [f"out_{i}" for i in range(6)], lambda i, f: 10 / len(f) ** 2, raw),
    # G / (b c h w); F.mse_loss of the Gram matrices; alpha = 1, beta = 1e6.
    "vgg19_adam_post": ("relu4_2", STYLE, lambda i, f: 1e6, over_all),
    # GramLoss: G / (h w), mean squared difference, mean over the layers; 1 : 1e3.
    "pystiche": ("relu4_2", STYLE, lambda i, f: 1e3 / 5, over_positions),
}


@pytest.mark.parametrize("name", SIMPLE)
def test_simple(name: str, case: MakeCase) -> None:
    content, layers, weight, gram = SIMPLE[name]
    c = case(name, grow=0 if gram is raw else 2)
    expected = mse(c.F(content), c.P(content))
    for index, layer in enumerate(layers):
        expected += weight(index, c.F(layer)) * mse(*c.both(layer, gram))
    assert c.total() == pytest.approx(expected, rel=EXACT)


def test_cs231n(case: MakeCase) -> None:
    """Sums of squares; Gram / (H W C); total variation of the normalized image."""
    c = case("cs231n")
    expected = 5e-2 * sse(c.F("fire2"), c.P("fire2"))
    weights = {"relu1": 20000, "fire3": 500, "fire4": 12, "fire5": 1}
    for layer, weight in weights.items():
        expected += weight * sse(*c.both(layer, over_all))
    mean = np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1)
    std = np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1)
    expected += 5e-2 * sum_of_squared_differences((c.pixels() - mean) / std)
    assert c.total() == pytest.approx(expected, rel=EXACT)


def test_jcjohnson(case: MakeCase) -> None:
    """neural_style.lua: gram / nElement; MSECriterion; 5, 100, and 1e-3 for 1/2 sum d^2.

    Its total variation is over the pixels that have both neighbors, in 0..256.
    """
    c = case("jcjohnson")
    expected = 5 * mse(c.F("relu4_2"), c.P("relu4_2"))
    for layer in STYLE:
        expected += 100 * mse(*c.both(layer, over_all))
    x = 256 * c.pixels()
    for channel in range(3):
        for i in range(x.shape[1] - 1):
            for j in range(x.shape[2] - 1):
                here = x[channel, i, j]
                right, below = x[channel, i, j + 1] - here, x[channel, i + 1, j] - here
                expected += 1e-3 * 0.5 * (right**2 + below**2)
    assert c.total() == pytest.approx(expected, rel=EXACT)


def test_jcjohnsons_total_variation_has_the_gradient_that_the_program_adds(
    random_image: Callable[..., Tensor],
) -> None:
    """neural_style.lua has no such loss: it adds strength * (what is below) to the gradient."""
    image = random_image(5, 6, dtype=torch.float64).requires_grad_()
    settings = make_config(["loss=jcjohnson"]).loss.tv
    total = settings.weight * total_variation(image, settings)
    (gradient,) = torch.autograd.grad(total, image)
    x = 256 * image.detach()[0].numpy()
    added = np.zeros_like(x)
    for i in range(x.shape[1] - 1):
        for j in range(x.shape[2] - 1):
            dx, dy = x[:, i, j] - x[:, i, j + 1], x[:, i, j] - x[:, i + 1, j]
            added[:, i, j] += dx + dy
            added[:, i, j + 1] -= dx
            added[:, i + 1, j] -= dy
    # Its unknowns are the pixels in 0..256, ours those in 0..1.
    np.testing.assert_allclose(gradient[0].numpy(), 256 * 1e-3 * added, rtol=1e-10, atol=1e-12)


def test_neural_style_pt(case: MakeCase) -> None:
    """Gram / nelement; MSELoss; 5, 100, and 1e-3 for sum |d| in 0..255."""
    c = case("neural_style_pt")
    expected = 5 * mse(c.F("relu4_2"), c.P("relu4_2"))
    for layer in STYLE:
        expected += 100 * mse(*c.both(layer, over_all))
    expected += 1e-3 * sum_of_absolute_differences(255 * c.pixels())
    assert c.total() == pytest.approx(expected, rel=EXACT)


def test_gordic(case: MakeCase) -> None:
    """Gram / (c h w), MSELoss(reduction="sum"), mean over the layers; 1e5, 3e4, 1e0."""
    c = case("gordic")
    style = sum(sse(*c.both(layer, over_all)) for layer in STYLE) / len(STYLE)
    expected = 1e5 * mse(c.F("relu4_2"), c.P("relu4_2")) + 3e4 * style
    expected += 1e0 * sum_of_absolute_differences(255 * c.pixels())
    assert c.total() == pytest.approx(expected, rel=EXACT)


def test_cysmith(case: MakeCase) -> None:
    """Content 1 / (2 N^(1/2) M^(1/2)); Eq. 4, 0.2 per layer and over five layers; 5, 1e4, 1e-3."""
    c = case("cysmith", grow=0)  # it forces the style to the content's size
    f, p = c.F("conv4_2"), c.P("conv4_2")
    n, m = f.shape
    expected = 5 * sse(f, p) / (2 * n**0.5 * m**0.5)
    style = 0.0
    for layer in STYLE:
        n, m = c.F(layer).shape
        style += 0.2 * sse(*c.both(layer, raw)) / (4 * n**2 * m**2)
    expected += 1e4 * style / len(STYLE)
    expected += 1e-3 * sum_of_absolute_differences(255 * c.pixels())
    assert c.total() == pytest.approx(expected, rel=EXACT)


def wasserstein(f: Array, s: Array) -> float:
    """StyleLossW2: mean((mu - mu_t)^2) + mean(diag(S + S_t - 2 (S_t^1/2 S S_t^1/2)^1/2)).

    The trace of the inner root is the sum of the singular values of L^T L_t for any L L^T = S and
    L_t L_t^T = S_t: with Cholesky's, no eigenvalue is needed.
    """

    def moments(x: Array) -> tuple[Array, Array]:
        mean = x.mean(axis=1)
        second_moment = x @ x.T / x.shape[1]
        return mean, second_moment - np.outer(mean, mean) + 1e-4 * np.eye(len(x))

    (mean, covariance), (mean_t, covariance_t) = moments(f), moments(s)
    product = np.linalg.cholesky(covariance).T @ np.linalg.cholesky(covariance_t)
    root = np.linalg.svd(product, compute_uv=False).sum()
    spread = np.trace(covariance) + np.trace(covariance_t) - 2 * root
    return float(np.mean((mean - mean_t) ** 2) + spread / len(f))


def test_crowsonkb(case: MakeCase) -> None:
    """Wasserstein-2 with 256 : 64 : 16 : 4 : 1; content 0.015; nine-point variation, weight 2."""
    c = case("crowsonkb")
    expected = 0.015 * mse(c.F("relu4_2"), c.P("relu4_2"))
    for layer, weight in zip(STYLE, [256, 64, 16, 4, 1], strict=True):
        expected += weight / 341 * wasserstein(c.F(layer), c.S(layer))
    x = c.pixels()
    height, width = x.shape[1:]

    def at(channel: int, i: int, j: int) -> float:
        """The image with its border repeated outwards."""
        return float(x[channel, min(max(i, 0), height - 1), min(max(j, 0), width - 1)])

    axes, diagonals = [], []
    for channel in range(3):
        for i in range(height):
            for j in range(width):
                axes.append((at(channel, i, j + 1) - at(channel, i, j)) ** 2)
                axes.append((at(channel, i + 1, j) - at(channel, i, j)) ** 2)
        for i in range(-1, height):
            for j in range(-1, width):
                diagonals.append((at(channel, i + 1, j + 1) - at(channel, i, j)) ** 2)
                diagonals.append((at(channel, i + 1, j) - at(channel, i, j + 1)) ** 2)
    # Both lists hold two means of equally many values, so twice their common mean is the sum.
    tv = 2 * (2 * np.mean(axes) / 3 + 2 * np.mean(diagonals) / 12)
    expected += 2 * float(tv)
    assert c.total() == pytest.approx(expected, rel=EXACT)


def test_default(case: MakeCase) -> None:
    """Each distance relative to the size of its target, Gram matrices per position."""
    c = case("default")
    content = sum(
        np.sum((c.F(layer) - c.P(layer)) ** 2) / np.sum(c.P(layer) ** 2)
        for layer in c.config.backbone.content_layers
    )
    style = 0.0
    for layer in c.config.backbone.style_layers:
        g, a = c.both(layer, over_positions)
        style += np.sum((g - a) ** 2) / np.sum(a**2)
    x = c.pixels()
    tv = sum_of_squared_differences(x) / x.size
    expected = c.config.alpha * content + c.config.beta * style + c.config.loss.tv.weight * tv
    assert c.total() == pytest.approx(expected, rel=EXACT)


@pytest.mark.parametrize("name", ["udacity", "resnet_post", "cysmith"])
def test_an_undivided_gram_matrix_of_another_size_is_brought_to_the_images(
    name: str, case: MakeCase
) -> None:
    """Repeating the style's maps doubles its Gram matrix there; here it changes nothing."""
    c = case(name, grow=0)
    twice = {layer: maps.repeat(1, 1, 1, 2) for layer, maps in c.style.items()}
    objective = build_objective(c.config.loss, c.config.alpha, c.config.beta, c.content, twice)
    total = objective(c.image, c.features).total
    assert float(total) == pytest.approx(float(c.losses.total), rel=EXACT)
