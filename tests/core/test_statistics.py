"""The statistics and their distances, against loops, closed forms and other factorisations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from nst_exp.core.statistics import RIDGE, gram_matrix, moments, symmetric_root, wasserstein2


def naive_gram(features: Tensor) -> Tensor:
    """Eq. 3 of the paper, divided by the number of positions, one product at a time."""
    _, channels, height, width = features.shape
    rows = features[0].reshape(channels, -1).tolist()
    gram = torch.zeros(channels, channels, dtype=torch.float64)
    for i in range(channels):
        for j in range(channels):
            for k in range(height * width):
                gram[i, j] += rows[i][k] * rows[j][k]
    return gram / (height * width)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (1, 5, 1, 1), (1, 1, 3, 2)])
def test_gram_matrix_is_the_triple_loop(
    shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    features = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gram = gram_matrix(features.contiguous(memory_format=layout))
    # Float64: only the order of at most 20 additions differs.
    torch.testing.assert_close(gram, naive_gram(features), rtol=1e-13, atol=1e-14)


def test_gram_matrix_does_not_care_where_a_feature_stands() -> None:
    features = torch.randn(1, 4, 6, 7, dtype=torch.float64)
    shuffled = features.flatten(2)[..., torch.randperm(42)].view_as(features)
    torch.testing.assert_close(gram_matrix(shuffled), gram_matrix(features), rtol=1e-12, atol=1e-13)


def test_gram_matrix_of_a_repeated_map_is_the_same() -> None:
    """Per position, so that pictures of different sizes can be compared."""
    features = torch.randn(1, 4, 6, 7, dtype=torch.float64)
    tiled = features.repeat(1, 1, 2, 3)
    torch.testing.assert_close(gram_matrix(tiled), gram_matrix(features), rtol=1e-12, atol=1e-13)


def test_gram_matrix_in_single_precision_keeps_five_digits_over_many_positions() -> None:
    features = torch.randn(1, 8, 256, 256, generator=torch.Generator().manual_seed(2)).relu()
    exact = gram_matrix(features.double())
    # 65,536 positive products: blocked sums lose a few units in the last of 7 digits.
    torch.testing.assert_close(gram_matrix(features).double(), exact, rtol=1e-5, atol=0.0)


def test_gram_matrix_of_two_images_is_refused() -> None:
    with pytest.raises(ValueError, match="2 images"):
        gram_matrix(torch.ones(2, 3, 4, 4))


def maps(seed: int, channels: int = 4, height: int = 5, width: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, channels, height, width, dtype=torch.float64, generator=generator)


def distance(features: Tensor, style: Tensor) -> Tensor:
    target = moments(style)
    return wasserstein2(moments(features), target, symmetric_root(target.covariance))


def general_distance(features: Tensor, style: Tensor) -> float:
    """The same from the eigenvalues of S S_t, which has those of S_t^1/2 S S_t^1/2.

    The covariances are NumPy's, divided by the number of positions and not one less.
    """
    x, y = (values[0].flatten(1).numpy() for values in (features, style))
    ridge = 1e-4 * np.eye(len(x))
    s, t = np.cov(x, bias=True) + ridge, np.cov(y, bias=True) + ridge
    roots = np.sqrt(np.linalg.eigvals(s @ t).real).sum()
    mean = np.sum((x.mean(axis=1) - y.mean(axis=1)) ** 2)
    return float((mean + np.trace(s) + np.trace(t) - 2 * roots) / len(x))


def test_moments_are_the_loops() -> None:
    features = maps(1, 3, 4, 5)
    rows = features[0].flatten(1).tolist()
    mean = [sum(row) / 20 for row in rows]
    found = moments(features)
    assert found.mean.tolist() == pytest.approx(mean, rel=1e-12)
    for i in range(3):
        for j in range(3):
            product = sum(x * y for x, y in zip(rows[i], rows[j], strict=True)) / 20
            expected = product - mean[i] * mean[j] + (RIDGE if i == j else 0.0)
            assert float(found.covariance[i, j]) == pytest.approx(expected, rel=1e-11, abs=1e-14)


def test_symmetric_root_is_a_symmetric_root() -> None:
    matrix = moments(maps(2, 6)).covariance
    root = symmetric_root(matrix)
    torch.testing.assert_close(root, root.T, rtol=0, atol=1e-14)
    torch.testing.assert_close(root @ root, matrix, rtol=0, atol=1e-14)
    assert float(torch.linalg.eigvalsh(root).min()) > 0
    # Rounding makes eigenvalues of 0 a little negative.
    singular = torch.ones(5, 5, dtype=torch.float64)
    torch.testing.assert_close(symmetric_root(singular), singular / 5**0.5, rtol=0, atol=1e-7)


@pytest.mark.parametrize("size", [(5, 6), (9, 4), (1, 2)])  # (1, 2): fewer positions than channels
def test_wasserstein2_is_that_of_the_general_eigenvalue_problem(size: tuple[int, int]) -> None:
    features, style = maps(1), maps(2, 4, *size) * 1.7 + 0.3
    expected = general_distance(features, style)
    # Eigenvalues down to 1e-8, the ridge's square, are found to 1e-16: their roots to 1e-12.
    assert float(distance(features, style)) == pytest.approx(expected, rel=1e-10)


def test_wasserstein2_of_independent_channels_is_the_textbooks() -> None:
    """(mu - mu_t)^2 + (sigma - sigma_t)^2 for each, where neither picture's channels covary."""
    wave = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    other = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    features = torch.stack([2.0 + 3.0 * wave, 1.0 + 0.5 * other]).view(1, 2, 2, 2)
    style = torch.stack([-1.0 + 1.0 * other, 4.0 + 2.5 * wave]).view(1, 2, 2, 2)
    expected = 0.0
    for mean, sigma, mean_t, sigma_t in ((2.0, 3.0, -1.0, 1.0), (1.0, 0.5, 4.0, 2.5)):
        widths = (sigma**2 + RIDGE) ** 0.5 - (sigma_t**2 + RIDGE) ** 0.5
        expected += ((mean - mean_t) ** 2 + widths**2) / 2
    assert float(distance(features, style)) == pytest.approx(expected, rel=1e-12)


def test_wasserstein2_is_symmetric_and_zero_at_its_target() -> None:
    a, b = maps(3), maps(4, 4, 7, 3) * 2.0
    assert float(distance(a, b)) == pytest.approx(float(distance(b, a)), rel=1e-10)
    assert abs(float(distance(a, a))) < 1e-14
    assert float(distance(a, b)) > 0.1


@pytest.mark.parametrize("size", [(3, 4), (1, 2)])
def test_gradient_of_wasserstein2(size: tuple[int, int]) -> None:
    features, style = maps(5, 3, *size).requires_grad_(), maps(6, 3, 4, 4)
    # Two positions leave covariances of rank 1, and eigenvalues as small as the ridge's square:
    # steps have to be small against the ridge's root, 0.01, and rounding then shows.
    assert torch.autograd.gradcheck(lambda x: distance(x, style), features, eps=1e-6, atol=1e-4)


def test_wasserstein2_has_a_gradient_where_a_channel_is_dead_or_repeated() -> None:
    """Eigenvalues that coincide: the roots' sum has a gradient where single vectors have none."""
    features = maps(7)
    features[0, 1] = 0.0
    features[0, 3] = features[0, 2]
    style = features.clone()
    style[0, 0] = 0.0
    variable = features.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(distance(variable, style), variable)
    assert torch.isfinite(gradient).all()
    assert float(gradient.abs().max()) < 10.0
    blank = torch.zeros(1, 4, 3, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(distance(blank, torch.zeros(1, 4, 3, 3)), blank)
    assert torch.equal(gradient, torch.zeros_like(blank))


def test_wasserstein2_in_single_precision() -> None:
    """With more positions than channels, as in all layers but the deepest of a small picture."""
    generator = torch.Generator().manual_seed(8)
    mix = torch.randn(64, 64, generator=generator, dtype=torch.float64) / 8

    def relu_maps(seed: int, height: int, width: int) -> Tensor:
        values = torch.einsum("ij,bjhw->bihw", mix, maps(seed, 64, height, width))
        return (values * 30.0).relu()

    features, style = relu_maps(9, 32, 32), relu_maps(10, 30, 35) * 1.5
    exact, single = features.clone().requires_grad_(), features.float().requires_grad_()
    a, b = distance(exact, style), distance(single, style.float())
    # Seven digits, of which the differences of traces and roots lose one or two.
    assert float(b.detach()) == pytest.approx(float(a.detach()), rel=1e-5)
    (expected,), (found,) = torch.autograd.grad(a, exact), torch.autograd.grad(b, single)
    error = float((found.double() - expected).norm() / expected.norm())
    assert error < 1e-3


def test_wasserstein2_in_single_precision_with_fewer_positions_than_channels() -> None:
    """Eigenvalues that should be the ridge's square, 1e-8, are rounded to below zero."""
    features, style = maps(11, 48, 3, 4).relu() * 30.0, maps(12, 48, 4, 4).relu() * 40.0
    target = moments(style.float())
    root = symmetric_root(target.covariance)
    inner = root @ moments(features.float()).covariance @ root
    assert float(torch.linalg.eigvalsh(inner).min()) < 0  # else this shows nothing
    single = features.float().requires_grad_()
    value = distance(single, style.float())
    (gradient,) = torch.autograd.grad(value, single)
    exact = features.clone().requires_grad_()
    reference = distance(exact, style)
    (expected,) = torch.autograd.grad(reference, exact)
    # Each lost eigenvalue is off by up to the root of the largest one's rounding.
    assert float(value.detach()) == pytest.approx(float(reference.detach()), rel=1e-2)
    error = float((gradient.double() - expected).norm() / expected.norm())
    assert error < 0.1
