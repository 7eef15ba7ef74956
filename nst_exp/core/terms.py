"""The terms of the objective: one small module per loss, each with its own target.

Symbols as in Gatys, Ecker and Bethge (CVPR 2016): feature maps F (image) and P (content) with N
channels and M positions, Gram matrices G (image) and A (style).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn.functional import pad

from nst_exp.config import schema
from nst_exp.config.schema import TVKind
from nst_exp.core.statistics import FeatureMap, Statistic, build_statistic
from nst_exp.core.targets import Features, Region, Target, style_targets


class Term(nn.Module, ABC):
    """One loss, a scalar, with the name under which it is logged and its weight in the total."""

    def __init__(self, name: str, weight: float) -> None:
        super().__init__()
        self.name, self.weight = name, weight

    @abstractmethod
    def forward(self, image: Tensor, features: Features) -> tuple[Tensor, dict[str, Tensor]]:
        """Evaluate at an image (1, 3, H, W) in 0..1 and its feature maps.

        Returns:
            The loss without its weight, and the losses of the layers by their logged name.
        """


class LayerTerm(Term):
    """A weighted sum over layers of the distances of a statistic to its targets."""

    power = 0.0  # of M, in a distance of statistics that are averaged over positions

    def __init__(
        self,
        name: str,
        settings: schema.ContentLoss | schema.StyleLoss,
        weight: float,
        statistic: Statistic,
        targets: Iterable[Sequence[Target]],
    ) -> None:
        """Compare with ``targets``, those of each layer; every layer's shares should sum to 1."""
        super().__init__(name, weight)
        self.settings, self.statistic, self.layers = settings, statistic, settings.layers
        self.layer_weights = settings.weights or [1.0] * len(settings.layers)
        self.targets = nn.ModuleList(nn.ModuleList(of_layer) for of_layer in targets)

    def forward(self, image: Tensor, features: Features) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum over the layers; each layer's own loss is without its weight."""
        total = image.new_zeros(())
        losses: dict[str, Tensor] = {}
        of_layers = cast(Iterable[Iterable[Target]], self.targets)
        for layer, weight, targets in zip(self.layers, self.layer_weights, of_layers, strict=True):
            values = features[layer].to(image.dtype)
            loss = image.new_zeros(())
            for target in targets:
                loss = loss + target.share * self._distance(values, target).to(image.dtype)
            losses[f"{self.name}/{layer}"] = loss
            total = total + weight * loss
        return total, losses

    def _distance(self, features: Tensor, target: Target) -> Tensor:
        a, b, c = self.settings.a, self.settings.b, self.settings.c
        summary = self.statistic.summarize(features, target.weights)
        distance = self.statistic.distance(summary, target.summary())
        if self.statistic.normalized:
            return c * distance
        if self.settings.relative:
            return distance / target.size
        channels, positions = features.shape[1], self._positions(features, target)
        scale: float = c * positions ** (self.power - b) / channels**a
        return distance * scale

    def _positions(self, features: Tensor, target: Target) -> float:
        return features.shape[2] * features.shape[3]


class ContentTerm(LayerTerm):
    """content_l = c * sum (F - P)^2 / (N^a M^b), or sum (F - P)^2 / sum P^2 if relative.

    Eq. 1 of the paper is (a, b, c) = (0, 0, 1/2).
    """

    def __init__(
        self,
        settings: schema.ContentLoss,
        weight: float,
        content: Features,
        masks: Features | None = None,
    ) -> None:
        """Compare with the maps of ``content``; ``masks`` are weights of the positions by layer."""
        statistic = FeatureMap()
        weights = {layer: masks[layer] if masks else None for layer in settings.layers}
        targets = (
            [Target(statistic, statistic.summarize(content[layer].detach(), mask), mask)]
            for layer, mask in weights.items()
        )
        super().__init__("content", settings, weight, statistic, targets)


class StyleTerm(LayerTerm):
    """style_l = c * sum (G - A)^2 / (N^a M^b), or sum (G - A)^2 / sum A^2 if relative.

    G and A are any statistic, times its number of positions. Both are computed per position and
    compared at the image's M, so that the style image may have another size. Eq. 4 of the paper is
    the Gram matrix with (a, b, c) = (2, 2, 1/4). The loss of several regions is the sum of theirs,
    each times its share; M is the number of positions of the region.
    """

    power = 2.0

    def __init__(
        self, name: str, settings: schema.StyleLoss, weight: float, regions: Sequence[Region]
    ) -> None:
        """Compare each region with its styles.

        Raises:
            ValueError: If the statistic has no weights of positions and a region has.
        """
        statistic = build_statistic(settings)
        targets = [
            [target for region in regions for target in style_targets(statistic, region, layer)]
            for layer in settings.layers
        ]
        super().__init__(name, settings, weight, statistic, targets)

    def _positions(self, features: Tensor, target: Target) -> float:
        return super()._positions(features, target) * target.coverage


class VariationTerm(Term):
    """How much neighboring pixels differ."""

    def __init__(self, settings: schema.TVLoss) -> None:
        super().__init__("tv", settings.weight)
        self.settings = settings

    def forward(self, image: Tensor, features: Features) -> tuple[Tensor, dict[str, Tensor]]:
        """Measure the total variation of the image."""
        return total_variation(image, self.settings), {}


class RangeTerm(Term):
    """Mean square of what lies outside 0..1, which is cut off when the image is saved."""

    def __init__(self, weight: float) -> None:
        super().__init__("range", weight)

    def forward(self, image: Tensor, features: Features) -> tuple[Tensor, dict[str, Tensor]]:
        """Measure how far the image leaves 0..1."""
        return (image - image.clamp(0.0, 1.0)).square().mean(), {}


def total_variation(image: Tensor, settings: schema.TVLoss) -> Tensor:
    """Compute the total variation of an image (1, 3, H, W) in 0..1.

    l1: sum |dx| + |dy|. l2: sum dx^2 + dy^2. l2_interior: l2 over the pixels that have a neighbor
    both to the right and below. l2_nine: 2 (dx^2 / 3 + dy^2 / 3 + both diagonals^2 / 12) over the
    image with its border repeated once. The mean is over all values that are summed; for l1 and l2
    over the image's. Pixels are scaled to 0..pixel_range and divided by channel_std before.
    """
    x = image * settings.pixel_range
    if settings.channel_std:
        x = x / x.new_tensor(settings.channel_std).view(1, 3, 1, 1)
    mean = settings.reduction is schema.Reduction.mean
    if settings.kind is TVKind.l2_nine:
        x = pad(x, (1, 1, 1, 1), mode="replicate")
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
    if settings.kind is TVKind.l2_interior:
        corner = x[..., :-1, :-1]
        squares = (x[..., :-1, 1:] - corner).square() + (x[..., 1:, :-1] - corner).square()
        # In a line of pixels none has both neighbors, and the mean of nothing is NaN.
        return squares.sum() / max(1, squares.numel()) if mean else squares.sum()
    dx = x[..., :, 1:] - x[..., :, :-1]
    dy = x[..., 1:, :] - x[..., :-1, :]
    if settings.kind is TVKind.l1:
        total = dx.abs().sum() + dy.abs().sum()
    else:
        total = dx.square().sum() + dy.square().sum()
    return total / image.numel() if mean else total
