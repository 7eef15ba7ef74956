"""The terms of the objective: one small module per loss, each with its own target.

Symbols as in Gatys, Ecker and Bethge (CVPR 2016): feature maps F (image) and P (content) with N
channels and M positions, Gram matrices G (image) and A (style).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from nst_exp.config import schema
from nst_exp.config.loss_layers import compared_layers
from nst_exp.core.layer_maps import read_map, read_maps, read_masks
from nst_exp.core.statistics import (
    CrossGram,
    FeatureMap,
    SelfSimilarity,
    Statistic,
    Summary,
    build_statistic,
)
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

    def start_step(self, step: int) -> bool:
        """Prepare for a step of the level, counted from 0; tell whether it changes the loss."""
        return False


class LayerTerm(Term):
    """A weighted sum over layers of the distances of a statistic to its targets."""

    normalizes = False  # the gradients of the layers

    def __init__(
        self,
        name: str,
        settings: schema.ContentLoss | schema.StyleLoss,
        weight: float,
        statistics: Sequence[Statistic],
        targets: Iterable[Sequence[Target]],
    ) -> None:
        """Compare with ``targets``, those of each layer; every layer's shares should sum to 1."""
        super().__init__(name, weight)
        self.settings, self.statistics = settings, statistics
        self.layers = compared_layers(settings)
        weights = [] if settings.hypercolumn else settings.weights  # those are in its map
        self.layer_weights = weights or [1.0] * len(self.layers)
        self.targets = nn.ModuleList(nn.ModuleList(of_layer) for of_layer in targets)

    def forward(self, image: Tensor, features: Features) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum over the layers; each layer's own loss is without its weight."""
        total = image.new_zeros(())
        losses: dict[str, Tensor] = {}
        for layer, weight, statistic, targets in self.by_layer():
            values = read_map(features, self.settings, layer).to(image.dtype)
            loss = image.new_zeros(())
            for target in targets:
                summary = statistic.summarize(values, target.weights)
                distance = self.distance(statistic, summary, target, values)
                loss = loss + target.share * distance.to(image.dtype)
            losses[f"{self.name}/{layer}"] = loss
            if self.normalizes and loss.requires_grad:
                loss = _with_unit_gradient(loss, values)
            total = total + weight * loss
        return total, losses

    def start_step(self, step: int) -> bool:
        """Draw the random choices of the statistics again if it is time."""
        changes = False
        for _, _, statistic, targets in self.by_layer():
            if statistic.redraw:
                draw, steps_since = divmod(step, statistic.redraw)
                changes |= step > 0 and steps_since == 0
                if draw != statistic.draw:
                    statistic.draw = draw
                    for target in targets:
                        target.prepare_again(statistic)
        return changes

    def by_layer(self) -> Iterator[tuple[str, float, Statistic, Iterable[Target]]]:
        """Yield each layer with its weight, statistic and targets."""
        targets = cast(Iterable[Iterable[Target]], self.targets)
        return zip(self.layers, self.layer_weights, self.statistics, targets, strict=True)

    def distance(
        self,
        statistic: Statistic,
        summary: Summary,
        target: Target,
        features: Tensor,
        to: Summary | None = None,
    ) -> Tensor:
        """Measure the distance of a summary to a target, normalized.

        ``features`` are the map, of which only the shape is used. With ``to`` the distance is that
        of a part of a local statistic to the same part of the target.
        """
        a, b, c = self.settings.a, self.settings.b, self.settings.c
        if to is None:
            to = target.matched(statistic, summary)
        distance = statistic.distance(summary, to)
        if statistic.normalized:
            return c * distance
        if self.settings.relative:
            return distance / target.size
        channels, positions = statistic.extent(features)
        if isinstance(self.settings, schema.StyleLoss):
            positions *= target.coverage
        scale: float = c * positions ** (statistic.power - b) / channels**a
        return distance * scale


def _with_unit_gradient(loss: Tensor, features: Tensor) -> Tensor:
    """Return a loss with its gradient at a feature map divided by the gradient's L1 norm."""
    (gradient,) = torch.autograd.grad(loss, features, retain_graph=True)
    gradient = gradient / gradient.abs().sum().clamp(min=torch.finfo(gradient.dtype).tiny)
    return loss.detach() + ((features - features.detach()) * gradient).sum()


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
        seed: int = 0,
    ) -> None:
        """Compare with the maps of ``content``; ``masks`` are weights of the positions by layer.

        Random choices follow from ``seed``.
        """
        layers, maps = compared_layers(settings), read_maps(content, settings)
        weights = read_masks(masks, settings) if masks else dict.fromkeys(layers)
        draws = settings.samples, seed, settings.redraw
        similar = settings.kind is schema.ContentKind.self_similarity
        statistics = [SelfSimilarity(*draws) if similar else FeatureMap() for _ in layers]
        targets = []
        for layer, statistic in zip(layers, statistics, strict=True):
            mask = weights[layer]
            summary = statistic.summarize(maps[layer].detach(), mask)
            target = Target(statistic, summary, mask)
            if mask is not None:  # a position that counts more adds to the loss, not to its divisor
                whole = statistic.summarize(maps[layer].detach())
                target.size.copy_(Target(statistic, whole, None).size)
            targets.append([target])
        super().__init__("content", settings, weight, statistics, targets)


class StyleTerm(LayerTerm):
    """style_l = c * sum (G - A)^2 / (N^a M^b), or sum (G - A)^2 / sum A^2 if relative.

    G and A are any statistic, times its number of positions. Both are computed per position and
    compared at the image's M, so that the style image may have another size. Eq. 4 of the paper is
    the Gram matrix with (a, b, c) = (2, 2, 1/4). The loss of several regions is the sum of theirs,
    each times its share; M is the number of positions of the region.
    """

    def __init__(
        self,
        name: str,
        settings: schema.StyleLoss,
        weight: float,
        regions: Sequence[Region],
        content: Features | None = None,
        seed: int = 0,
    ) -> None:
        """Compare each region with its styles.

        ``content`` has the maps of the content image, which terms with ``frozen`` need. Random
        choices follow from ``seed``.

        Raises:
            ValueError: If the statistic has no weights of positions and a region has.
        """
        layers, maps = compared_layers(settings), regions[0].styles[0].maps
        statistics: list[Statistic] = []
        for layer in layers:
            first, pair, _ = layer.partition(":")
            cross = pair and CrossGram(maps[first].shape[1], settings.shift)
            statistics.append(cross or build_statistic(settings, seed))
        joined = [_read_region(region, settings) for region in regions]
        start = read_maps(content or {}, settings) if settings.frozen else None
        targets: list[list[Target]] = []
        for layer, statistic in zip(layers, statistics, strict=True):
            targets.append([])
            for index, region in enumerate(joined):
                for target in style_targets(statistic, region, layer, start):
                    target.region = index
                    targets[-1].append(target)
        super().__init__(name, settings, weight, statistics, targets)


def _read_region(region: Region, settings: schema.StyleLoss) -> Region:
    """Replace the network's maps and masks by those that a term compares."""
    styles = [
        replace(
            style,
            maps=read_maps(style.maps, settings),
            masks=read_masks(style.masks, settings) if style.masks else None,
            copies=[read_maps(maps, settings) for maps in style.copies],
        )
        for style in region.styles
    ]
    masks = read_masks(region.masks, settings) if region.masks else None
    return replace(region, styles=styles, masks=masks)
