"""The objective: alpha * content + beta * style + total variation, with its breakdown per layer.

Symbols as in Gatys, Ecker and Bethge (CVPR 2016): feature maps F (image) and P (content) with N
channels and M positions, Gram matrices G (image) and A (style).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from nst_exp.config import schema as config
from nst_exp.config.schema import Statistic, TVKind
from nst_exp.core.statistics import Moments, gram_matrix, moments, symmetric_root, wasserstein2

Features = Mapping[str, Tensor]


@dataclass(frozen=True)
class Losses:
    """One evaluation. All are scalars; only ``total`` carries alpha, beta and the other weights."""

    total: Tensor
    content: Tensor  # sum over layers of v_l content_l
    style: Tensor  # sum over layers of w_l style_l
    tv: Tensor
    range: Tensor
    layers: dict[str, Tensor]  # "content/relu4_2": content_l without its weight v_l

    def detach(self) -> Losses:
        """The same numbers without the graph that made them."""
        layers = {name: term.detach() for name, term in self.layers.items()}
        return Losses(
            self.total.detach(),
            self.content.detach(),
            self.style.detach(),
            self.tv.detach(),
            self.range.detach(),
            layers,
        )

    def as_floats(self) -> dict[str, float]:
        """Python numbers under the names that are logged."""
        names = ("total", "content", "style", "tv", "range")
        values = {name: getattr(self, name) for name in names} | self.layers
        return {name: float(value.detach()) for name, value in values.items()}


def content_distance(features: Tensor, target: Tensor, a: float, b: float, c: float) -> Tensor:
    """c * sum (F - P)^2 / (N^a M^b). Eq. 1 of the paper is (a, b, c) = (0, 0, 1/2)."""
    _, channels, height, width = features.shape
    scale: float = c / (channels**a * (height * width) ** b)
    return (features - target).square().sum() * scale


def style_distance(
    gram: Tensor, target: Tensor, positions: int, a: float, b: float, c: float
) -> Tensor:
    """c * sum (G - A)^2 / (N^a M^b). Eq. 4 of the paper is (a, b, c) = (2, 2, 1/4).

    ``gram`` and ``target`` are per position, (N, N), as gram_matrix() returns them; ``positions``
    is M of the image, so that a style image of another size is compared at the image's size.
    """
    channels = gram.shape[0]
    scale: float = c * positions ** (2.0 - b) / channels**a
    return (gram - target).square().sum() * scale


def total_variation(image: Tensor, settings: config.TVLoss) -> Tensor:
    """Total variation of an image (1, 3, H, W) in 0..1, measured in 0..settings.pixel_range.

    l1: sum |dx| + |dy|. l2: sum dx^2 + dy^2. l2_interior: l2 over the pixels that have a neighbor
    both to the right and below. l2_nine: 2 (dx^2 / 3 + dy^2 / 3 + both diagonals^2 / 12) over the
    image with its border repeated once. The mean is over all values that are summed; for l1 and l2
    over the image's.
    """
    x = image * settings.pixel_range
    if settings.channel_std:
        x = x / x.new_tensor(settings.channel_std).view(1, 3, 1, 1)
    mean = settings.reduction is config.Reduction.mean
    if settings.kind is TVKind.l2_nine:
        return _nine_point(x, mean)
    if settings.kind is TVKind.l2_interior:
        corner = x[..., :-1, :-1]
        squares = (x[..., :-1, 1:] - corner).square() + (x[..., 1:, :-1] - corner).square()
        # A line of pixels has none with both neighbors, and there is no mean of nothing.
        return squares.sum() / max(1, squares.numel()) if mean else squares.sum()
    dx = x[..., :, 1:] - x[..., :, :-1]
    dy = x[..., 1:, :] - x[..., :-1, :]
    if settings.kind is TVKind.l1:
        total = dx.abs().sum() + dy.abs().sum()
    else:
        total = dx.square().sum() + dy.square().sum()
    return total / image.numel() if mean else total


def _nine_point(image: Tensor, mean: bool) -> Tensor:
    x = pad(image, (1, 1, 1, 1), mode="replicate")
    center = x[..., 1:-1, 1:-1]
    total = x.new_zeros(())
    for difference, weight in (
        (x[..., 1:-1, 2:] - center, 1 / 3),
        (x[..., 2:, 1:-1] - center, 1 / 3),
        (x[..., 1:, 1:] - x[..., :-1, :-1], 1 / 12),
        (x[..., 1:, :-1] - x[..., :-1, 1:], 1 / 12),
    ):
        squares = difference.square()
        total = total + 2.0 * weight * (squares.mean() if mean else squares.sum())
    return total


def range_excess(image: Tensor) -> Tensor:
    """Mean square of what lies outside 0..1, which saving the picture will cut off."""
    return (image - image.clamp(0.0, 1.0)).square().mean()


def _weights(layers: list[str], weights: list[float]) -> dict[str, float]:
    return dict(zip(layers, weights or [1.0] * len(layers), strict=True))


class Objective(nn.Module):
    """Holds the targets; called with the image and its feature maps, returns its losses.

    The targets are buffers that do not go into checkpoints: they are made again from the images.
    A term whose weight (alpha, beta, TV weight) is 0 is measured but not part of the total.
    """

    def __init__(
        self, settings: config.Loss, alpha: float, beta: float, content: Features, style: Features
    ) -> None:
        """Take the feature maps of the content and of the style image, each (1, N, h, w)."""
        super().__init__()
        self.settings, self.alpha, self.beta = settings, alpha, beta
        self.content_weights = _weights(settings.content.layers, settings.content.weights)
        self.style_weights = _weights(settings.style.layers, settings.style.weights)
        for index, layer in enumerate(self.content_weights):
            self._keep(f"P{index}", content[layer].detach().clone())
        self.wasserstein = settings.style.statistic is Statistic.wasserstein2
        for index, layer in enumerate(self.style_weights):
            if self.wasserstein:
                target = moments(style[layer].detach())
                self.register_buffer(f"mean{index}", target.mean, persistent=False)
                self.register_buffer(f"covariance{index}", target.covariance, persistent=False)
                root = symmetric_root(target.covariance)
                self.register_buffer(f"root{index}", root, persistent=False)
            else:
                self._keep(f"A{index}", gram_matrix(style[layer].detach()))

    def _style(self, index: int, maps: Tensor) -> Tensor:
        """style_l of one layer's feature map (1, N, h, w)."""
        settings = self.settings.style
        if self.wasserstein:
            mean, covariance, root = (
                getattr(self, f"{name}{index}").to(maps.dtype)
                for name in ("mean", "covariance", "root")
            )
            return settings.c * wasserstein2(moments(maps), Moments(mean, covariance), root)
        target, size = self._target(f"A{index}", maps.dtype)
        gram = gram_matrix(maps)
        if settings.relative:
            return (gram - target).square().sum() / size
        positions = maps.shape[2] * maps.shape[3]
        return style_distance(gram, target, positions, settings.a, settings.b, settings.c)

    def _keep(self, name: str, target: Tensor) -> None:
        """Register a target and its sum of squares, which is what ``relative`` divides by."""
        size = target.square().sum()
        # A layer may be dead for a blank image: nothing to be relative to.
        size = torch.where(size > 0, size, torch.ones_like(size))
        self.register_buffer(name, target, persistent=False)
        self.register_buffer(f"{name}_size", size, persistent=False)

    def _target(self, name: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        target, size = getattr(self, name), getattr(self, f"{name}_size")
        return target.to(dtype), size.to(dtype)

    @property
    def layers(self) -> list[str]:
        """Every layer that is read, without repetition."""
        return list(dict.fromkeys([*self.content_weights, *self.style_weights]))

    def forward(self, image: Tensor, features: Features) -> Losses:
        """Evaluate at an image (1, 3, H, W) in 0..1 with its feature maps, each (1, N, h, w)."""
        # Sums over thousands of products do not belong in half precision.
        with torch.autocast(image.device.type, enabled=False):
            terms: dict[str, Tensor] = {}
            zero = image.new_zeros(())
            content, style = zero, zero
            norm = self.settings.content
            for index, (layer, weight) in enumerate(self.content_weights.items()):
                target, size = self._target(f"P{index}", image.dtype)
                maps = features[layer].to(image.dtype)
                if norm.relative:
                    term = (maps - target).square().sum() / size
                else:
                    term = content_distance(maps, target, norm.a, norm.b, norm.c)
                terms[f"content/{layer}"] = term
                content = content + weight * term
            for index, (layer, weight) in enumerate(self.style_weights.items()):
                term = self._style(index, features[layer].to(image.dtype))
                terms[f"style/{layer}"] = term
                style = style + weight * term
            tv = total_variation(image, self.settings.tv)
            excess = range_excess(image)
            total = zero
            for weight, term in (
                (self.alpha, content),
                (self.beta, style),
                (self.settings.tv.weight, tv),
                (self.settings.range_weight, excess),
            ):
                if weight:  # 0 * infinity is NaN, and a gradient of zeros costs a backward pass
                    total = total + weight * term
        return Losses(total, content, style, tv, excess, terms)
