"""The statistics and their distances, against loops, closed forms and other factorizations."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import torch
from torch import Tensor

from nst_exp.app.api import make_config
from nst_exp.config import schema
from nst_exp.core.encoder import build_encoder
from nst_exp.core.statistics import Statistic, build_statistic
from nst_exp.core.statistics.gram import gram_matrix
from nst_exp.core.statistics.moments import RIDGE, Wasserstein2
from nst_exp.images import load_image, named_images
from nst_exp.images.tensors import to_tensor
from nst_exp.weights import load_weights

KINDS = list(schema.Statistic)


def maps(seed: int, channels: int = 4, height: int = 5, width: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, channels, height, width, dtype=torch.float64, generator=generator)


def distance(statistic: Statistic, features: Tensor, style: Tensor) -> Tensor:
    target = statistic.prepare_target(statistic.summarize(style))
    return statistic.distance(statistic.summarize(features), target)


def naive_summary(kind: schema.Statistic, features: Tensor, weights: Tensor) -> list[Tensor]:
    """Sums over positions, one at a time, in float64."""
    rows = features[0].flatten(1).tolist()
    shares = (weights.flatten() / weights.sum()).tolist()
    n = len(rows)
    mean = [sum(s * x for s, x in zip(shares, row, strict=True)) for row in rows]

    def moment(i: int, j: int, a: float, b: float) -> float:
        pairs = zip(shares, rows[i], rows[j], strict=True)
        return sum(s * (x - a) * (y - b) for s, x, y in pairs)

    channels = range(n)
    gram = double([[moment(i, j, 0, 0) for j in channels] for i in channels])
    covariance = double([[moment(i, j, mean[i], mean[j]) for j in channels] for i in channels])
    ridge = RIDGE * torch.eye(n, dtype=torch.float64)
    return {
        schema.Statistic.gram: [gram],
        schema.Statistic.covariance: [covariance],
        schema.Statistic.mean: [double(mean)],
        schema.Statistic.std: [covariance.diagonal().sqrt()],
        schema.Statistic.wasserstein2: [double(mean), covariance + ridge],
    }[kind]


def double(values: list[float] | list[list[float]]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def assert_summary(found: tuple[Tensor, ...], expected: Iterable[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        # Float64: only the order of a few dozen additions differs.
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", KINDS)
def test_summary_is_the_loop(kind: schema.Statistic, layout: torch.memory_format) -> None:
    statistic, features = build_statistic(kind), maps(1).contiguous(memory_format=layout)
    weights, uniform = maps(2, 1).abs(), torch.full((1, 1, 5, 6), 0.3, dtype=torch.float64)
    expected = naive_summary(kind, features, uniform)
    assert_summary(statistic.summarize(features), expected)
    assert_summary(statistic.summarize(features, uniform), expected)
    weighted = statistic.summarize(features, weights)
    assert_summary(weighted, naive_summary(kind, features, weights))
    # Neither the order nor the number of positions counts.
    shuffled = features.flatten(2)[..., torch.randperm(30)].view_as(features)
    for other in (shuffled, features.repeat(1, 1, 2, 3)):
        assert_summary(statistic.summarize(other), expected)
    with pytest.raises(ValueError, match="2 images"):
        statistic.summarize(features.repeat(2, 1, 1, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_is_the_same_as_cropping(kind: schema.Statistic) -> None:
    statistic, features = build_statistic(kind), maps(1)
    mask = torch.zeros(1, 1, 5, 6, dtype=torch.float64)
    mask[..., 1:4, 2:6] = 1.0
    cropped = features[..., 1:4, 2:6]
    assert_summary(statistic.summarize(features, mask), statistic.summarize(cropped))
    # Positions outside the mask have no gradient.
    variable = features.clone().requires_grad_()
    value = sum(part.square().sum() for part in statistic.summarize(variable, mask))
    (gradient,) = torch.autograd.grad(value, variable)  # type: ignore[arg-type]
    assert float(gradient[..., 1:4, 2:6].abs().min()) > 0
    assert float((gradient * (1 - mask)).abs().max()) == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_is_that_of_differences(kind: schema.Statistic, weighted: bool) -> None:
    statistic = build_statistic(kind)
    target = statistic.prepare_target(statistic.summarize(maps(6, 3, 4, 4)))
    weights = maps(7, 1, 3, 4).abs() if weighted else None

    def value(x: Tensor) -> Tensor:
        return statistic.distance(statistic.summarize(x, weights), target)

    # Steps must be small against the ridge's root, 0.01, and rounding then shows.
    assert torch.autograd.gradcheck(value, maps(5, 3, 3, 4).requires_grad_(), eps=1e-6, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_distance_is_zero_at_the_target_only(kind: schema.Statistic) -> None:
    statistic, features = build_statistic(kind), maps(3)
    assert abs(float(distance(statistic, features, features))) < 1e-14
    assert float(distance(statistic, features, maps(4, 4, 7, 3) * 2.0)) > 0.1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dead_and_repeated_channels_have_a_finite_gradient(
    kind: schema.Statistic, dtype: torch.dtype
) -> None:
    """Roots of 0, and eigenvalues that coincide, have a gradient in the sum only."""
    statistic, features = build_statistic(kind), maps(7).to(dtype)
    features[0, 1] = 0.0
    features[0, 3] = features[0, 2]
    style = features.clone()
    style[0, 0] = 0.0
    for image, target in ((features, style), (torch.zeros_like(style), style)):
        variable = image.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(distance(statistic, variable, target), variable)
        assert torch.isfinite(gradient).all()
        assert float(gradient.abs().max()) < 10.0


def test_gram_matrix_in_single_precision_keeps_five_digits_over_many_positions() -> None:
    features = torch.randn(1, 8, 256, 256, generator=torch.Generator().manual_seed(2)).relu()
    exact = gram_matrix(features.double())
    # 65,536 positive products: blocked sums lose a few units in the last of 7 digits.
    torch.testing.assert_close(gram_matrix(features).double(), exact, rtol=1e-5, atol=0.0)


def general_distance(features: Tensor, style: Tensor) -> float:
    """Wasserstein-2 from the eigenvalues of S S_t, which has those of S_t^1/2 S S_t^1/2."""
    x, y = (values[0].flatten(1).numpy() for values in (features, style))
    ridge = 1e-4 * np.eye(len(x))
    s, t = np.cov(x, bias=True) + ridge, np.cov(y, bias=True) + ridge
    roots = np.sqrt(np.linalg.eigvals(s @ t).real).sum()
    mean = np.sum((x.mean(axis=1) - y.mean(axis=1)) ** 2)
    return float((mean + np.trace(s) + np.trace(t) - 2 * roots) / len(x))


@pytest.mark.parametrize("size", [(5, 6), (9, 4), (1, 2)])  # (1, 2): fewer positions than channels
def test_wasserstein2_is_that_of_the_general_eigenvalue_problem(size: tuple[int, int]) -> None:
    features, style = maps(1), maps(2, 4, *size) * 1.7 + 0.3
    expected = general_distance(features, style)
    # Eigenvalues down to 1e-8, the ridge's square, are found to 1e-16: their roots to 1e-12.
    assert float(distance(Wasserstein2(), features, style)) == pytest.approx(expected, rel=1e-10)
    assert float(distance(Wasserstein2(), style, features)) == pytest.approx(expected, rel=1e-10)


def exact_gradient(features: Tensor, style: Tensor) -> Tensor:
    """The gradient in float64 from singular values, which do not square the condition number.

    tr((S_t^1/2 S S_t^1/2)^1/2) is the nuclear norm of S_t^1/2 [F - mean, root of ridge] / root M.
    """
    x, y = (values.double()[0].flatten(1) for values in (features, style))
    x.requires_grad_()
    n, m = x.shape
    eye = torch.eye(n, dtype=torch.float64)
    target = torch.cov(y, correction=0) + RIDGE * eye
    centered = x - x.mean(dim=1, keepdim=True)
    joined = torch.cat([centered / m**0.5, RIDGE**0.5 * eye], dim=1)
    nuclear = torch.linalg.svdvals(torch.linalg.cholesky(target).T @ joined).sum()
    value = (x.mean(dim=1) - y.mean(dim=1)).square().sum() + joined.square().sum() - 2 * nuclear
    (gradient,) = torch.autograd.grad(value / n, x)
    return gradient.view_as(features)


@pytest.mark.parametrize("sizes", [((24, 20), (22, 25)), ((3, 4), (4, 4))])
def test_wasserstein2_gradient_of_single_precision_maps(
    sizes: tuple[tuple[int, int], tuple[int, int]],
) -> None:
    """Also with fewer positions than channels, as in the deepest layer of a small image."""
    mix = maps(8, 64, 1, 64)[0, :, 0] / 8

    def relu_maps(seed: int, size: tuple[int, int], scale: float) -> Tensor:
        values = torch.einsum("ij,bjhw->bihw", mix, maps(seed, 64, *size))
        return (values * scale).relu().float()

    features, style = relu_maps(9, sizes[0], 30.0), relu_maps(10, sizes[1], 45.0)
    single = features.clone().requires_grad_()
    (found,) = torch.autograd.grad(distance(Wasserstein2(), single, style), single)
    expected = exact_gradient(features, style)
    assert float((found.double() - expected).norm() / expected.norm()) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    "trained", [False, pytest.param(True, marks=pytest.mark.network)], ids=["random", "trained"]
)
def test_wasserstein2_gradient_in_every_layer_of_vgg16(trained: bool) -> None:
    backbone, layers = make_config().backbone, [f"relu{k}_1" for k in range(1, 6)]
    encoder = build_encoder(
        backbone, layers, load_weights(backbone).state_dict if trained else None
    )
    content, style = (
        to_tensor(load_image(named_images()[name], key="test").image, (96, 64))
        for name in ("summer_palace", "starry_night")
    )
    image_maps, style_maps = encoder(content), encoder(style)
    for layer in layers:
        single = image_maps[layer].clone().requires_grad_()
        value = distance(Wasserstein2(), single, style_maps[layer])
        (found,) = torch.autograd.grad(value, single)
        expected = exact_gradient(image_maps[layer], style_maps[layer])
        error = float((found.double() - expected).norm() / expected.norm())
        assert error < 2e-4, layer
