"""Several styles and regions, against sums over positions that are written out."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nst_exp.config import schema
from nst_exp.config.schema import Statistic, StyleLoss
from nst_exp.core.statistics import build_statistic
from nst_exp.core.targets import Region, Style, Target, style_targets, whole_image
from nst_exp.core.terms import ContentTerm, StyleTerm

MakeMap = Callable[..., Tensor]
SETTINGS = schema.StyleLoss(["layer"], a=1.0, b=0.5, c=3.0)
ADDITIVE = [Statistic.gram, Statistic.covariance, Statistic.mean, Statistic.std]


@pytest.fixture
def make_map() -> MakeMap:
    """A random feature map in float64."""

    def make(height: int, width: int, seed: int, channels: int = 3) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(1, channels, height, width, generator=generator, dtype=torch.float64)

    return make


def loss(term: StyleTerm | ContentTerm, values: Tensor) -> tuple[float, Tensor]:
    """The loss of a feature map and its gradient."""
    values = values.clone().requires_grad_()
    total, _ = term(values[:, :3], {"layer": values})
    (gradient,) = torch.autograd.grad(total, values)
    return float(total.detach()), gradient


def moments(maps: list[Tensor], weights: list[float]) -> tuple[Tensor, Tensor]:
    """Blend the mean and the second raw moment of maps, position by position."""
    mean, raw = torch.zeros(3).double(), torch.zeros(3, 3).double()
    for values, weight in zip(maps, weights, strict=True):
        columns = values[0].flatten(1).T
        for column in columns:
            mean += weight * column / len(columns)
            raw += weight * torch.outer(column, column) / len(columns)
    return mean, raw


def test_blended_targets(make_map: MakeMap) -> None:
    """Gram matrices are averaged; moments are blended before they are centered."""
    maps, weights = [make_map(4, 5, 1), make_map(3, 7, 2)], [0.25, 0.75]
    region = Region([Style({"layer": m}, w) for m, w in zip(maps, weights, strict=True)])
    mean, raw = moments(maps, weights)
    covariance = raw - torch.outer(mean, mean)
    expected = dict(zip(ADDITIVE, (raw, covariance, mean, covariance.diag().sqrt()), strict=True))
    for kind, values in expected.items():
        statistic = build_statistic(StyleLoss(statistic=kind))
        (target,) = style_targets(statistic, region, "layer")
        torch.testing.assert_close(target.summary()[0], values, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [*ADDITIVE, Statistic.wasserstein2])
def test_regions_are_like_cropped_maps(make_map: MakeMap, kind: Statistic) -> None:
    """The left and the right part with a style each, or a map of one color."""
    settings = schema.StyleLoss(["layer"], statistic=kind, a=1.0, b=0.5, c=3.0)
    image, styles = make_map(4, 10, 1), [make_map(5, 5, 2), make_map(6, 4, 3)]
    left = torch.zeros(1, 1, 4, 10).double()
    left[..., :4] = 1.0
    regions = [
        Region([Style({"layer": styles[0]})], {"layer": left}, 0.4),
        Region([Style({"layer": styles[1]})], {"layer": 1.0 - left}, 0.6),
    ]
    total, gradient = loss(StyleTerm("style", settings, 1.0, regions), image)
    expected, gradients = 0.0, []
    for part, style, share in ((image[..., :4], styles[0], 0.4), (image[..., 4:], styles[1], 0.6)):
        alone = loss(StyleTerm("style", settings, 1.0, whole_image({"layer": style})), part)
        expected += share * alone[0]
        gradients.append(share * alone[1])
    assert total == pytest.approx(expected, rel=1e-9)
    torch.testing.assert_close(gradient, torch.cat(gradients, 3), rtol=1e-8, atol=1e-10)
    one = [Region([Style({"layer": styles[0]})], {"layer": torch.ones_like(left)})]
    masked = loss(StyleTerm("style", settings, 1.0, one), image)
    plain = loss(StyleTerm("style", settings, 1.0, whole_image({"layer": styles[0]})), image)
    assert masked[0] == pytest.approx(plain[0], rel=1e-12)
    torch.testing.assert_close(masked[1], plain[1], rtol=1e-10, atol=1e-12)


def test_the_part_of_a_style_that_its_mask_selects(make_map: MakeMap) -> None:
    """A masked style is like a cropped one, also beside another style."""
    style, other = make_map(4, 6, 1), make_map(2, 5, 2)
    mask = torch.zeros(1, 1, 4, 6).double()
    mask[..., :2, :] = 1.0
    statistic = build_statistic(StyleLoss(statistic=Statistic.covariance))

    def summary(*styles: Style) -> Tensor:
        (target,) = style_targets(statistic, Region(styles), "layer")
        return target.summary()[0]

    masked = Style({"layer": style}, 0.5, {"layer": mask})
    cropped = Style({"layer": style[..., :2, :]}, 0.5)
    torch.testing.assert_close(summary(masked), summary(cropped), rtol=1e-12, atol=1e-14)
    beside = Style({"layer": other}, 0.5)
    torch.testing.assert_close(summary(masked, beside), summary(cropped, beside))


def test_copies_of_a_style(make_map: MakeMap) -> None:
    """Neighbors are found in the image and its copies; an additive statistic averages them all."""
    image, maps = make_map(3, 4, 1), [make_map(2, 5, 2), make_map(5, 2, 3), make_map(3, 3, 4)]
    copied = Region([Style({"layer": maps[0]}, copies=[{"layer": m} for m in maps[1:]])])
    rows, others = image[0].flatten(1).T, torch.cat([m[0].flatten(1).T for m in maps])
    settings = StyleLoss(["layer"], statistic=Statistic.neighbors, a=0.0, b=0.0)
    # The neighbor is the one with the largest correlation, which is the nearest of unit vectors.
    unit = [{"layer": m / m.norm(dim=1, keepdim=True)} for m in [image, *maps]]
    term = StyleTerm("style", settings, 1.0, [Region([Style(unit[1], copies=unit[2:])])])
    rows, others = (v / v.norm(dim=1, keepdim=True) for v in (rows, others))
    squares = [min(float((a - b) @ (a - b)) for b in others) for a in rows]
    assert loss(term, unit[0]["layer"])[0] == pytest.approx(sum(squares), rel=1e-9)
    (target,) = style_targets(build_statistic(StyleLoss()), copied, "layer")
    mean = sum(moments([m], [1.0])[1] for m in maps) / 3
    torch.testing.assert_close(target.summary()[0], mean, rtol=1e-12, atol=1e-12)


def test_regions_without_positions_are_left_out(make_map: MakeMap) -> None:
    """At a layer where a region of the image or of its style has vanished."""
    maps, gone = {"layer": make_map(2, 2, 1)}, {"layer": torch.zeros(1, 1, 2, 2).double()}
    statistic = build_statistic(StyleLoss(statistic=Statistic.gram))
    assert not list(style_targets(statistic, Region([Style(maps)], gone), "layer"))
    assert not list(style_targets(statistic, Region([Style(maps, 1.0, gone)]), "layer"))


def test_content_by_position(make_map: MakeMap) -> None:
    """A weight of 0 takes a position out, one of 4 counts it four times."""
    image, content, mask = make_map(2, 3, 1), make_map(2, 3, 2), torch.ones(1, 1, 2, 3).double()
    mask[0, 0, 0] = torch.tensor([0.0, 4.0, 1.0])
    settings = schema.ContentLoss(["layer"], a=0.0, b=0.0, c=1.0)
    term = ContentTerm(settings, 1.0, {"layer": content}, {"layer": mask})
    total, gradient = loss(term, image)
    squares = (image - content).square().sum(dim=1, keepdim=True)
    assert total == pytest.approx(float((squares * mask).sum()), rel=1e-12)
    torch.testing.assert_close(gradient, 2 * (image - content) * mask)
    settings.relative = True
    term = ContentTerm(settings, 1.0, {"layer": content}, {"layer": mask})
    relative = float((squares * mask).sum() / content.square().sum())
    assert loss(term, image)[0] == pytest.approx(relative, rel=1e-12)


def test_targets_are_buffers(make_map: MakeMap) -> None:
    """They follow the image, and checkpoints do not hold them."""
    maps = {"layer": make_map(2, 2, 1)}
    (target,) = style_targets(
        build_statistic(StyleLoss(statistic=Statistic.gram)), whole_image(maps)[0], "layer"
    )
    assert isinstance(target, Target)
    assert target.float().summary()[0].dtype is torch.float32
    assert not target.state_dict()
