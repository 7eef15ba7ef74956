"""The part of the schema below `loss`: the terms of the objective."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf

from nst_exp.config.keys import MANY, key

Statistic = StrEnum(
    "Statistic",
    "gram covariance mean std moments_l1 wasserstein2 sliced histogram neighbors relaxed_emd "
    "palette",
)
# How nearest neighbors are found and compared: by normalized correlation and squared difference, or
# by the cosine distance after the mean of each set is subtracted.
Metric = StrEnum("Metric", "correlation cosine")
ContentKind = StrEnum("ContentKind", "features self_similarity")
# l1: sum |dx| + |dy|; l2: sum dx^2 + dy^2; l2_interior: l2 without the last row and column;
# l2_nine: nine-point stencil, 2 (dx^2 + dy^2) / 3 + (both diagonals^2) / 6.
TVKind = StrEnum("TVKind", "l1 l2 l2_interior l2_nine")
Reduction = StrEnum("Reduction", "sum mean")


@dataclass
class ContentLoss:
    """content_l = c * sum (F - P)^2 / (N^a M^b); N channels, M positions."""

    layers: list[str] = key([], "[] = the backbone's content_layers")
    weights: list[float] = key([], "v_l, one per layer; [] = all 1", bounds=(0, inf))
    a: float = key(1.0, "power of the number of channels, N", bounds=(-10, 10))
    b: float = key(1.0, "power of the number of positions, M", bounds=(-10, 10))
    c: float = key(1.0, "constant factor", above=0)
    relative: bool = key(False, "use sum (F - P)^2 / sum P^2 instead of the formula above")
    kind: ContentKind = key(ContentKind.features, "self_similarity: of a, b, c only c is used")
    hypercolumn: int = key(0, "as in `loss.style`", bounds=(0, 64))
    positions: int = key(1, "as in `loss.style`", bounds=(1, 1_000_000))
    samples: int = key(1024, "self_similarity: positions compared", bounds=(2, 4096))
    redraw: int = key(0, "self_similarity: as in `loss.style`", bounds=(0, MANY))


@dataclass
class StyleLoss:
    """style_l = c * sum (G - A)^2 / (N^a M^b), with G and A a statistic times its positions, M."""

    layers: list[str] = key([], "[] = the backbone's style_layers; of loss.more, loss.style's")
    weights: list[float] = key([], "w_l, one per layer; [] = all 1", bounds=(0, inf))
    statistic: Statistic = key(Statistic.gram, "what is compared: docs/losses.md")
    a: float = key(2.0, "power of the number of channels, N", bounds=(-10, 10))
    b: float = key(2.0, "power of the number of positions, M", bounds=(-10, 10))
    c: float = key(1.0, "constant factor", above=0)
    relative: bool = key(False, "use sum (G - A)^2 / sum A^2 instead of the formula above")
    root_iterations: int | None = key(None, "wasserstein2: null = exact root", bounds=(1, 1000))
    hypercolumn: int = key(0, "k: all layers in one map, 1/k of the image's size", bounds=(0, 64))
    positions: int = key(1, "hypercolumn: at least so many, up to pixels", bounds=(1, 1_000_000))
    shift: float = key(0.0, "gram: Gram matrix of F + shift", bounds=(-1e6, 1e6))
    directions: int | None = key(None, "sliced: null = as many as channels", bounds=(1, 65_536))
    samples: int = key(1024, "relaxed_emd, palette: positions compared", bounds=(2, 1_000_000))
    redraw: int = key(0, "steps until random choices change; 0 = never", bounds=(0, MANY))
    patch: int = key(1, "neighbors: side of the patches, in positions", bounds=(1, 64))
    stride: int = key(1, "neighbors: distance of two patches, in positions", bounds=(1, 64))
    metric: Metric = key(Metric.correlation, "neighbors: how patches are compared")
    frozen: bool = key(False, "neighbors: keep those of the content image for the whole level")


@dataclass
class StyleTerm(StyleLoss):
    """A further style term, ``loss.more.NAME``, beside ``loss.style``: any statistic and layers."""

    weight: float = key(1.0, "factor on beta; loss.style has 1", bounds=(0, inf))


@dataclass
class TVLoss:
    """Total variation of the image: how much neighboring pixels differ."""

    weight: float = key(0.0, "0 = measured only", bounds=(0, inf))
    kind: TVKind = key(TVKind.l2, "how neighbors are compared: docs/losses.md")
    reduction: Reduction = key(Reduction.mean, "mean: over all values of the image")
    pixel_range: float = key(1.0, "pixel values are scaled to 0..pixel_range", above=0)
    channel_std: list[float] = key([], "divisors of R, G and B; [] = 1", above=0)
    auto: bool = key(False, "multiply the weight by 0 to 10, the more the smoother the style is")


@dataclass
class LaplacianLoss:
    """weights_k * mean (L(x) - L(content))^2 of the images averaged over pools_k x pools_k."""

    pools: list[int] = key([4], "sides of the squares that are averaged", bounds=(1, 1024))
    weights: list[float] = key([], "one per pool; [] = no such term", bounds=(0, inf))


@dataclass
class Loss:
    """alpha * sum v_l content_l + beta * sum w_l style_l + tv.weight * TV + range."""

    content: ContentLoss = key(ContentLoss())
    style: StyleLoss = key(StyleLoss())
    more: dict[str, StyleTerm] = key({}, "further style terms by name")
    tv: TVLoss = key(TVLoss())
    laplacian: LaplacianLoss = key(LaplacianLoss())
    range_weight: float = key(0.0, "weight of the mean squared distance from 0..1", bounds=(0, inf))
    normalize_gradients: bool = key(False, "divide each layer's gradient by its L1 norm")
