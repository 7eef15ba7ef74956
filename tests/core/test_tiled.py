"""Objectives computed block by block, against the same objectives of the whole image in float64."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from nst_exp.config.loss_layers import layers_read, resolve_layers, style_layers
from nst_exp.config.schema import (
    Backbone,
    ContentLoss,
    Loss,
    Padding,
    Pool,
    RegionBorder,
    Statistic,
    StyleLoss,
    StyleTerm,
    TVLoss,
    Weights,
)
from nst_exp.core.blocks import Tiling
from nst_exp.core.encoder import Encoder, build_encoder, map_shapes
from nst_exp.core.objective import Losses, Objective, build_objective
from nst_exp.core.receptive_field import receptive_fields
from nst_exp.core.regions import layer_masks
from nst_exp.core.targets import Features, Region, Style
from nst_exp.core.tiled import TiledObjective, position_sums, whole_maps

VGG = Backbone(
    "vgg11",
    Weights.random,
    content_layers=["relu3_1"],
    style_layers=["relu1_1", "relu2_1", "relu3_1"],
)
SQUEEZE = ["relu1", "fire2"]
RELATIVE = Loss(ContentLoss(relative=True), StyleLoss(relative=True), tv=TVLoss(weight=0.1))
SPST = Loss(
    ContentLoss(),
    StyleLoss(a=4.0, c=1e3, shift=-1.0),
    {
        "mean": StyleTerm(statistic=Statistic.mean, c=10.0),
        "std": StyleTerm(statistic=Statistic.std, c=10.0),
    },
    range_weight=1.0,
)
WASSERSTEIN = Loss(
    style=StyleLoss(["rgb", "relu2_1"], statistic=Statistic.wasserstein2),
    more={
        "covariance": StyleTerm(["relu3_1"], statistic=Statistic.covariance, relative=True),
        "moments": StyleTerm(["relu1_1"], statistic=Statistic.moments_l1, weight=0.1),
    },
)


def image(height: int, width: int, seed: int) -> Tensor:
    """Smooth colors with a little noise, in float64."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 16 + 2, width // 16 + 2, generator=generator)
    smooth = interpolate(coarse.double(), size=(height, width), mode="bicubic")
    noise = torch.rand(1, 3, height, width, generator=generator, dtype=torch.float64)
    return (0.9 * smooth + 0.1 * noise).clamp(0.0, 1.0)


def evaluate(
    objective: Objective | TiledObjective, x: Tensor, *maps: Features
) -> tuple[Losses, Tensor]:
    losses = objective(x, *maps)
    (gradient,) = torch.autograd.grad(losses.total, x)
    return losses, gradient


def both(
    encoder: Encoder, loss: Loss, tiling: Tiling, sides: tuple[int, int], split: bool = False
) -> tuple[tuple[Losses, Tensor], tuple[Losses, Tensor]]:
    """Evaluate at once and in blocks; ``split`` has a region for the left and the right part."""
    height, width = sides
    content, x = image(height, width, 1), image(height, width, 2).requires_grad_()
    images = [image(height - 24, width + 32, 3), image(height + 8, width - 16, 4)]
    styles = [Style(encoder(style)) for style in images]
    content_masks = None
    regions = [Region(styles[:1])]
    if split:
        left, right = zip(*(halves(encoder, picture) for picture in (x, *images)), strict=True)
        content_masks = left[0]
        blend = [replace(styles[0], weight=0.25, masks=left[1])]
        blend.append(replace(styles[1], weight=0.75, masks=left[2]))
        regions = [Region(blend, left[0], 0.4)]
        regions.append(Region([replace(styles[1], masks=right[2])], right[0], 0.6))
    layers = style_layers(loss)

    def in_blocks(style: Style) -> Style:
        of_style = images[0 if style.maps is styles[0].maps else 1]
        (sums,) = position_sums(tiling, of_style, layers, [style.masks])
        return replace(style, maps=map_shapes(encoder, of_style), sums=sums)

    tiled_regions = [replace(r, styles=[in_blocks(style) for style in r.styles]) for r in regions]
    maps = whole_maps(tiling, content, loss.content.layers)
    whole = build_objective(loss, 1.0, 5.0, encoder(content), regions, content_masks)
    tiled = build_objective(loss, 1.0, 5.0, maps, tiled_regions, content_masks)
    return evaluate(whole, x, encoder(x)), evaluate(TiledObjective(tiling, tiled), x)


def halves(encoder: Encoder, picture: Tensor) -> list[Features]:
    """Masks of the left and the right part of an image at the layers."""
    height, width = picture.shape[2:]
    labels = (torch.arange(width) > width * 0.4).long().expand(height, width).numpy()
    shapes = {layer: (m.shape[2], m.shape[3]) for layer, m in map_shapes(encoder, picture).items()}
    fields = receptive_fields(encoder)
    masks = layer_masks(labels, 2, shapes, fields, RegionBorder.simple)
    return [{layer: mask.double() for layer, mask in of_region.items()} for of_region in masks]


def assert_equal(expected: tuple[Losses, Tensor], found: tuple[Losses, Tensor]) -> None:
    """Sums in another order differ by rounding: float64 has 16 digits."""
    values, others = expected[0].as_floats(), found[0].as_floats()
    assert list(values) == list(others)
    assert others == pytest.approx(values, rel=1e-11, abs=1e-13)
    assert (found[1] - expected[1]).norm() <= 1e-11 * expected[1].norm()


@pytest.mark.parametrize("padding", Padding)
@pytest.mark.parametrize("loss", [RELATIVE, SPST, WASSERSTEIN], ids=["gram", "spst", "moments"])
def test_blocks_equal_the_whole(loss: Loss, padding: Padding) -> None:
    """Sides that no block divides, except where opposite borders meet."""
    settings = replace(VGG, padding=padding)
    loss = resolve_layers(loss, settings)
    encoder = build_encoder(settings, layers_read(loss), None).double()
    sides = (96, 80) if padding is Padding.circular else (93, 78)
    assert_equal(*both(encoder, loss, Tiling(encoder, 32), sides))


@pytest.mark.parametrize(
    ("settings", "block"),
    [
        (replace(VGG, pool=Pool.average), 24),
        (replace(VGG, pool=Pool.l2, pool_scale=1.5), 48),
        (
            replace(VGG, name="alexnet", content_layers=["relu2"], style_layers=["relu1", "relu2"]),
            32,
        ),
        (Backbone("squeezenet1_1", content_layers=["fire3"], style_layers=SQUEEZE), 32),
        (
            Backbone(
                "resnet18",
                content_layers=["layer1.1.add"],
                style_layers=["layer1.0.relu_1"],
            ),
            32,
        ),
    ],
    ids=lambda value: f"{value.name}-{value.pool}" if isinstance(value, Backbone) else str(value),
)
def test_networks(settings: Backbone, block: int) -> None:
    """Other windows, strides, and paths that join."""
    loss = resolve_layers(RELATIVE, settings)
    encoder = build_encoder(settings, layers_read(loss), None).double()
    assert_equal(*both(encoder, loss, Tiling(encoder, block), (109, 131)))


@pytest.mark.parametrize("loss", [RELATIVE, SPST], ids=["gram", "spst"])
def test_regions_with_several_styles(loss: Loss) -> None:
    loss = resolve_layers(loss, VGG)
    encoder = build_encoder(VGG, layers_read(loss), None).double()
    assert_equal(*both(encoder, loss, Tiling(encoder, 32), (93, 78), split=True))


@pytest.mark.parametrize("margin", ["value_margin", "gradient_margin"])
def test_margins_are_not_wider_than_needed(margin: str) -> None:
    """One stride less on each side gives another result."""
    loss = resolve_layers(RELATIVE, VGG)
    encoder = build_encoder(VGG, layers_read(loss), None).double()
    tiling = Tiling(encoder, 32)
    setattr(tiling, margin, getattr(tiling, margin) - tiling.stride)
    expected, found = both(encoder, loss, tiling, (96, 96))
    difference = (found[1] - expected[1]).norm() / expected[1].norm()
    assert difference > 1e-9


def test_a_network_that_averages_over_all_positions() -> None:
    """Squeeze-and-excitation averages over all positions."""
    settings = replace(VGG, name="efficientnet_b0", content_layers=["features.2.1.add"])
    encoder = build_encoder(settings, ["features.2.1.add"], None)
    with pytest.raises(ValueError, match="depend on the whole image"):
        Tiling(encoder, 32)
