"""The statistics and their distances, against loops, closed forms and other factorizations."""

from collections.abc import Callable, Iterable
from functools import partial

import pytest
import torch
from helpers_core import RIDGE, exact_wasserstein2, iterated_wasserstein2, random_maps
from torch import Tensor

from nst_exp.app.api import make_config
from nst_exp.config import schema
from nst_exp.core.encoder import build_encoder
from nst_exp.core.statistics import CrossGram, Statistic, build_statistic
from nst_exp.core.statistics.moments import Wasserstein2
from nst_exp.images import load_image, named_images
from nst_exp.images.tensors import to_tensor
from nst_exp.weights import load_weights

Distance = Callable[[Tensor, Tensor], Tensor]


def build(kind: schema.Statistic) -> Statistic:
    return build_statistic(schema.StyleLoss(statistic=kind))


KINDS = [kind for kind in schema.Statistic if build(kind).additive]  # functions of sums


def distance(statistic: Statistic, features: Tensor, style: Tensor) -> Tensor:
    target = statistic.prepare_target(statistic.summarize(style))
    return statistic.distance(statistic.summarize(features), target)


def naive_summary(kind: schema.Statistic, features: Tensor, weights: Tensor) -> list[Tensor]:
    """Sums over positions, one at a time, in float64."""
    shares = (weights.flatten() / weights.sum()).tolist()
    places = features[0].flatten(1).T  # (M, N)
    mean = sum(s * x for s, x in zip(shares, places, strict=True))
    gram, covariance = (
        sum(s * torch.outer(x, x) for s, x in zip(shares, vectors, strict=True))
        for vectors in (places, places - mean)
    )
    ridge = RIDGE * torch.eye(len(mean), dtype=torch.float64)
    return {
        schema.Statistic.gram: [gram],
        schema.Statistic.covariance: [covariance],
        schema.Statistic.mean: [mean],
        schema.Statistic.std: [covariance.diagonal().sqrt()],
        schema.Statistic.moments_l1: [mean, covariance],
        schema.Statistic.wasserstein2: [mean, covariance + ridge],
    }[kind]


def assert_summary(found: tuple[Tensor, ...], expected: Iterable[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        # Float64: only the order of a few dozen additions differs.
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", KINDS)
def test_summary_is_the_loop(kind: schema.Statistic, layout: torch.memory_format) -> None:
    statistic, features = build(kind), random_maps(1).contiguous(memory_format=layout)
    weights, uniform = random_maps(2, 1).abs(), torch.full((1, 1, 5, 6), 0.3, dtype=torch.float64)
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
    statistic, features = build(kind), random_maps(1)
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
    statistic = build(kind)
    target = statistic.prepare_target(statistic.summarize(random_maps(6, 3, 4, 4)))
    weights = random_maps(7, 1, 3, 4).abs() if weighted else None

    def value(x: Tensor) -> Tensor:
        return statistic.distance(statistic.summarize(x, weights), target)

    # Steps must be small against the ridge's root, 0.01, and rounding then shows.
    assert torch.autograd.gradcheck(
        value, random_maps(5, 3, 3, 4).requires_grad_(), eps=1e-6, atol=1e-4
    )


@pytest.mark.parametrize("kind", KINDS)
def test_distance_is_zero_at_the_target_only(kind: schema.Statistic) -> None:
    statistic, features = build(kind), random_maps(3)
    assert abs(float(distance(statistic, features, features))) < 1e-14
    assert float(distance(statistic, features, random_maps(4, 4, 7, 3) * 2.0)) > 0.1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dead_and_repeated_channels_have_a_finite_gradient(
    kind: schema.Statistic, dtype: torch.dtype
) -> None:
    """Roots of 0, and eigenvalues that coincide, have a gradient in the sum only."""
    statistic, features = build(kind), random_maps(7).to(dtype)
    features[0, 1] = 0.0
    features[0, 3] = features[0, 2]
    style = features.clone()
    style[0, 0] = 0.0
    for image, target in ((features, style), (torch.zeros_like(style), style)):
        variable = image.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(distance(statistic, variable, target), variable)
        assert torch.isfinite(gradient).all()
        assert float(gradient.abs().max()) < 10.0


@pytest.mark.parametrize("weighted", [False, True])
def test_gram_matrices_with_a_shift_and_of_two_layers(weighted: bool) -> None:
    """Sums of products over the positions, each with its share."""
    one, two = random_maps(1, 3), random_maps(2, 5)
    weights = random_maps(3, 1).abs() if weighted else torch.ones(1, 1, 5, 6).double()
    shares = weights.flatten() / weights.sum()
    for first, second, statistic in (
        (one, one, build_statistic(schema.StyleLoss(shift=-1.5))),
        (one, two, CrossGram(3, -1.5)),
    ):
        rows, others = (x[0].flatten(1).T - 1.5 for x in (first, second))
        pairs = zip(shares, rows, others, strict=True)
        expected = sum(share * torch.outer(x, y) for share, x, y in pairs)
        features = torch.cat([one, two], dim=1) if second is two else one
        (found,) = statistic.summarize(features, weights if weighted else None)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
    assert CrossGram(3).extent(features) == (15**0.5, 30)
    variable = features.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: CrossGram(3, -1.5).summarize(x, weights), variable)


def test_moments_l1_is_the_mean_absolute_difference() -> None:
    """In value and gradient; numpy's covariances divide by M."""
    features, style = random_maps(1), random_maps(2, 4, 7, 3)

    def naive(x: Tensor, y: Tensor) -> Tensor:
        x, y = (values[0].flatten(1) for values in (x, y))
        spread = torch.cov(x, correction=0) - torch.cov(y, correction=0)
        return sum(abs(v) for v in x.mean(1) - y.mean(1)) / 4 + sum(spread.abs().flatten()) / 16

    statistic = build(schema.Statistic.moments_l1)
    found, of_found = value_and_gradient(partial(distance, statistic), features, style)
    value, gradient = value_and_gradient(naive, features, style)
    assert found == pytest.approx(value, rel=1e-12)
    torch.testing.assert_close(of_found, gradient, rtol=1e-11, atol=1e-14)


def value_and_gradient(function: Distance, features: Tensor, style: Tensor) -> tuple[float, Tensor]:
    variable = features.clone().requires_grad_()
    value = function(variable, style)
    return float(value.detach()), torch.autograd.grad(value, variable)[0]


def assert_wasserstein2_is_exact(features: Tensor, style: Tensor, tolerance: float) -> None:
    """Value and gradient of float32 maps."""
    value, gradient = value_and_gradient(exact_wasserstein2, features, style)
    found, of_found = value_and_gradient(partial(distance, Wasserstein2()), features, style)
    assert found == pytest.approx(value, rel=tolerance)
    assert float((of_found - gradient).double().norm() / gradient.norm()) < tolerance


@pytest.mark.parametrize("sizes", [((24, 20), (22, 25)), ((3, 4), (4, 4))])
def test_wasserstein2_of_single_precision_maps(sizes: list[tuple[int, int]]) -> None:
    """Also with fewer positions than channels, as in the deepest layer of a small image."""
    mix = random_maps(8, 64, 1, 64)[0, :, 0] / 8
    features, style = (
        (torch.einsum("ij,bjhw->bihw", mix, random_maps(seed, 64, *size)) * scale).relu().float()
        for seed, size, scale in zip((9, 10), sizes, (30.0, 45.0), strict=True)
    )
    assert_wasserstein2_is_exact(features, style, 1e-5)


@pytest.mark.parametrize("iterations", [1, 5, 12])
def test_wasserstein2_with_iterated_roots_is_that_of_iterated_matrices(iterations: int) -> None:
    """Also of a blank image, with dead channels, and with fewer positions than channels."""
    features, style = random_maps(1, 8, 5, 6), 2 * random_maps(2, 8, 7, 3)
    dead = features.clone()
    dead[0, 1], dead[0, 3] = 0.0, dead[0, 2]
    ours = partial(distance, Wasserstein2(iterations))
    for image in (features, dead, features[..., :1, :2], torch.zeros_like(features)):
        found, of_found = value_and_gradient(ours, image, style)
        value, gradient = value_and_gradient(
            partial(iterated_wasserstein2, iterations=iterations), image, style
        )
        # Float64, through roots that differ by a factor of up to a thousand.
        assert found == pytest.approx(value, rel=1e-10)
        torch.testing.assert_close(of_found, gradient, rtol=1e-9, atol=1e-12)


def test_iterated_roots_approach_the_exact_ones() -> None:
    features, style = random_maps(1, 8, 5, 6), 2 * random_maps(2, 8, 7, 3)
    value, gradient = value_and_gradient(partial(distance, Wasserstein2()), features, style)
    errors = []
    for iterations in (3, 6, 12, 60):
        ours = partial(distance, Wasserstein2(iterations))
        found, of_found = value_and_gradient(ours, features, style)
        assert found > value * (1 - 1e-12)  # iterated roots are too small
        errors.append((found / value - 1, float((of_found - gradient).norm() / gradient.norm())))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == pytest.approx((0.0, 0.0), abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "trained", [False, pytest.param(True, marks=pytest.mark.network)], ids=["random", "trained"]
)
def test_wasserstein2_in_every_layer_of_vgg16(trained: bool) -> None:
    backbone, layers = make_config().backbone, [f"relu{k}_1" for k in range(1, 6)]
    weights = load_weights(backbone).state_dict if trained else None
    encoder = build_encoder(backbone, layers, weights)
    image, style = (
        encoder(to_tensor(load_image(named_images()[name], key="test").image, (96, 64)))
        for name in ("summer_palace", "starry_night")
    )
    for layer in layers:
        assert_wasserstein2_is_exact(image[layer], style[layer], 2e-4)
