"""Statistics that compare positions one by one, against loops over them in float64."""

import math

import helpers_statistics as naive
import pytest
import torch
from helpers_core import random_maps
from torch import Tensor

from nst_exp.config.schema import Metric, Statistic as Kind, StyleLoss
from nst_exp.core.statistics import SelfSimilarity, Statistic, build_statistic, matching
from nst_exp.utils.errors import ConfigError


def distance(statistic: Statistic, features: Tensor, style: Tensor) -> Tensor:
    summary = statistic.summarize(features)
    target = statistic.match(statistic.prepare_target(statistic.summarize(style)), summary)
    return statistic.distance(summary, target)


def build(**keys: object) -> Statistic:
    return build_statistic(StyleLoss(**keys))  # type: ignore[arg-type]


def directions(count: int | None) -> Tensor:
    statistic = build(statistic=Kind.sliced, directions=count)
    return statistic.prepare_target(statistic.summarize(random_maps(1)))[1]


CASES: dict[str, tuple[Statistic, naive.Distance]] = {
    "histogram": (build(statistic=Kind.histogram), naive.histogram),
    "sliced": (
        build(statistic=Kind.sliced),
        lambda x, y: naive.sliced(x, y, directions(None)),
    ),
    "sliced 7": (
        build(statistic=Kind.sliced, directions=7),
        lambda x, y: naive.sliced(x, y, directions(7)),
    ),
    "correlation": (
        build(statistic=Kind.neighbors, patch=3),
        lambda x, y: naive.correlation(x, y, 3, 1),
    ),
    "correlation, stride": (
        build(statistic=Kind.neighbors, patch=2, stride=2),
        lambda x, y: naive.correlation(x, y, 2, 2),
    ),
    "cosine": (
        build(statistic=Kind.neighbors, metric=Metric.cosine),
        lambda x, y: naive.neural(x, y, 1, 1),
    ),
    "cosine, stride": (
        build(statistic=Kind.neighbors, metric=Metric.cosine, stride=2),
        lambda x, y: naive.neural(x, y, 1, 2),
    ),
    "relaxed_emd": (build(statistic=Kind.relaxed_emd), naive.emd),
}
SIZES = [(5, 6), (4, 3), (7, 6)]  # of the style; the image is 5 x 6


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_are_those_of_the_loop(name: str, size: tuple[int, int]) -> None:
    statistic, naive = CASES[name]
    assert_same(statistic, naive, random_maps(1), random_maps(2, 4, *size))


@pytest.mark.parametrize("size", SIZES)
def test_palette(size: tuple[int, int]) -> None:
    image, style = random_maps(1, 3), random_maps(2, 3, *size)
    assert_same(build(statistic=Kind.palette), naive.palette, image, style)


def test_self_similarity() -> None:
    statistic = SelfSimilarity(samples=1000, seed=0, redraw=0)
    assert_same(statistic, naive.similarity, random_maps(1), random_maps(2))


def assert_same(statistic: Statistic, loops: naive.Distance, image: Tensor, style: Tensor) -> None:
    """Only the order of additions differs; the gradient is also that of differences."""
    results = []
    for function in (lambda x: distance(statistic, x, style), lambda x: loops(x, style)):
        variable = image.clone().requires_grad_()
        value = function(variable)
        results.append((value.detach(), torch.autograd.grad(value, variable)[0]))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)
    variable = image.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: distance(statistic, x, style), variable, eps=1e-6)


ALL = {name: case[0] for name, case in CASES.items()} | {
    "palette": build(statistic=Kind.palette),
    "self-similarity": SelfSimilarity(samples=1000, seed=0, redraw=0),
}


@pytest.mark.parametrize("name", ALL)
def test_distance_is_zero_at_the_target_only(name: str) -> None:
    statistic, features = ALL[name], random_maps(3, 3)
    least = math.sqrt(1e-5 / 3) if name == "palette" else 0.0
    assert float(distance(statistic, features, features)) == pytest.approx(least, abs=1e-13)
    assert float(distance(statistic, features, random_maps(4, 3))) > 0.05


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blank_images_have_a_finite_gradient(name: str, dtype: torch.dtype) -> None:
    """Vectors of length 0 have no direction, and equal values no order."""
    statistic, features = ALL[name], random_maps(7, 3).to(dtype)
    features[0, 1] = 0.0
    features[0, :, 2:4] = 0.0
    blank = torch.full_like(features, 0.5)
    for image, target in ((features, blank), (blank, features), (0 * blank, blank), (blank, blank)):
        variable = image.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(distance(statistic, variable, target), variable)
        assert torch.isfinite(gradient).all()
        assert float(gradient.abs().max()) < 10.0


@pytest.mark.parametrize("name", ALL)
def test_positions_have_no_weights(name: str) -> None:
    assert not ALL[name].additive
    with pytest.raises(ValueError, match="no weights of positions"):
        ALL[name].summarize(random_maps(1, 3), torch.ones(1, 1, 5, 6))
    with pytest.raises(ValueError, match="2 images"):
        ALL[name].summarize(random_maps(1, 3).repeat(2, 1, 1, 1))


def test_directions_are_orthogonal_and_follow_from_the_seed() -> None:
    identity = torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(directions(None) @ directions(None).T, identity)
    many = directions(10)
    torch.testing.assert_close(many[4:8] @ many[4:8].T, identity)
    assert many.shape == (10, 4)
    assert directions(3).shape == (3, 4)
    assert torch.equal(directions(3), many[:3])
    other = build_statistic(StyleLoss(statistic=Kind.sliced), seed=1)
    summary = other.summarize(random_maps(1))
    assert not torch.equal(other.prepare_target(summary)[1], directions(None))
    other.draw = 1
    assert not torch.equal(other.prepare_target(summary)[1], directions(None))


def test_sliced_distance_of_a_rotation() -> None:
    """Any directions measure a shift by s as |s|^2, since N orthogonal ones are a basis."""
    features = random_maps(1)
    shift = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    moved = features + shift[None, :, None, None]
    for name in ("sliced", "histogram"):
        found = float(distance(ALL[name], moved, features))
        assert found == pytest.approx(float(shift.square().sum()), rel=1e-12)


@pytest.mark.parametrize("kind", [Kind.relaxed_emd, Kind.palette])
def test_samples_are_positions_of_both_images(kind: Kind) -> None:
    """They change with the draw only, and the mean over many draws is near the full distance."""
    statistic = build(statistic=kind, samples=12)
    image, style = random_maps(1, 3, 6, 6), random_maps(2, 3, 6, 6) + 0.4
    first = float(distance(statistic, image, style))
    assert float(distance(statistic, image, style)) == first
    statistic.draw = 1
    assert float(distance(statistic, image, style)) != first
    variable = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(distance(statistic, variable, style), variable)
    assert 0 < int((gradient.abs().sum(dim=1) > 0).sum()) <= 12


def test_frozen_neighbors_are_those_of_the_content() -> None:
    keys = {"statistic": Kind.neighbors, "metric": Metric.cosine}
    free, frozen = build(**keys), build(**keys, frozen=True)
    image, content, style = random_maps(1), random_maps(2), random_maps(3, 4, 7, 3)
    target = frozen.prepare_target(frozen.summarize(style))
    fixed = frozen.freeze(target, frozen.summarize(content))
    assert free.freeze(target, frozen.summarize(content)) is target
    at_content = frozen.distance(frozen.summarize(content), fixed)
    torch.testing.assert_close(at_content, distance(free, content, style))
    assert float(frozen.distance(frozen.summarize(image), fixed)) > float(
        distance(free, image, style)
    )


def test_a_patch_larger_than_the_map() -> None:
    with pytest.raises(ConfigError, match="patch=9: a feature map is only 6x5"):
        build(statistic=Kind.neighbors, patch=9).summarize(random_maps(1))


def test_matching_in_chunks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = (matching.unit(random_maps(s, 4, 9, 9)[0].flatten(1).T) for s in (1, 2))
    whole = matching.nearest(ours, theirs, matching.cosine_distances)
    monkeypatch.setattr(matching, "LARGEST", 200)
    for found, expected in zip(
        matching.nearest(ours, theirs, matching.cosine_distances), whole, strict=True
    ):
        assert torch.equal(found, expected)
