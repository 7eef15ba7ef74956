"""What the terms of layers compare an image with: one or several styles, whole or by region."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from nst_exp.core.statistics import PositionSums, Statistic, Summary

Features = Mapping[str, Tensor]
"""Feature maps (1, N, h, w) by layer; also masks (1, 1, h, w) of their positions."""


@dataclass(frozen=True)
class Style:
    """A style image, or the part of it that ``masks`` select."""

    maps: Features
    weight: float = 1.0  # those of the styles of a region sum to 1
    masks: Features | None = None  # weights of the positions in 0..1
    copies: Sequence[Features] = ()  # further maps, whose positions count as the image's own
    sums: Mapping[str, PositionSums] | None = None  # those of the maps, which are only shapes then


@dataclass(frozen=True)
class Region:
    """A part of the image and the styles that it is compared with."""

    styles: Sequence[Style]
    masks: Features | None = None  # weights of the image's positions in 0..1; None = all of it
    share: float = 1.0  # of the loss


def whole_image(maps: Features) -> list[Region]:
    """Return the regions of an image that is compared as a whole with one style."""
    return [Region([Style(maps)])]


class Target(nn.Module):
    """The prepared summary of a target, and the weights of the image's positions.

    They are buffers, so that they follow the image to its device, and not part of checkpoints,
    since they are made again from the images.
    """

    weights: Tensor | None
    size: Tensor

    def __init__(
        self,
        statistic: Statistic,
        summary: Summary,
        weights: Tensor | None,
        share: float = 1.0,
        content: Summary | None = None,
    ) -> None:
        """Prepare the summary of a target; ``content`` is that of the content image."""
        super().__init__()
        self.share, self.jumps = share, statistic.jumps
        self.keeps = False
        self.kept: Summary | None = None
        self.region = 0  # its index
        self.coverage = 1.0 if weights is None else float(weights.mean())  # part of the positions
        self.raw = len(summary) if statistic.redraw else 0  # parts needed to prepare it again
        for index, part in enumerate(summary[: self.raw]):
            self.register_buffer(f"raw{index}", part.clone(), persistent=False)
        parts = statistic.prepare_target(summary)
        if content is not None:
            parts = statistic.freeze(parts, content)
        size = statistic.size(parts)
        # All features of a layer may be 0 for a blank image: there is nothing to divide by.
        size = torch.where(size > 0, size, torch.ones_like(size))
        self.register_buffer("size", size, persistent=False)
        self.register_buffer("weights", weights, persistent=False)
        self.parts = len(parts)
        for index, part in enumerate(parts):
            self.register_buffer(f"part{index}", part.clone(), persistent=False)

    def summary(self) -> Summary:
        """Return the prepared summary."""
        return tuple(self.get_buffer(f"part{index}") for index in range(self.parts))

    def matched(self, statistic: Statistic, summary: Summary) -> Summary:
        """Return what a summary is compared with; the first one's while ``keeps`` is set."""
        if self.kept is not None:
            return self.kept
        matched = statistic.match(self.summary(), summary)
        if self.keeps:
            self.kept = matched
        return matched

    def prepare_again(self, statistic: Statistic) -> None:
        """Prepare the target for new random choices of the statistic."""
        raw = tuple(self.get_buffer(f"raw{index}") for index in range(self.raw))
        for index, part in enumerate(statistic.prepare_target(raw)):
            self.get_buffer(f"part{index}").copy_(part)


def style_targets(
    statistic: Statistic, region: Region, layer: str, content: Features | None = None
) -> Iterator[Target]:
    """Make the targets of a region at a layer.

    An additive statistic has one: that of the positions of all styles together, weighted. Its Gram
    matrix is the weighted mean of the styles' Gram matrices. Other statistics have one for each
    style. A region without positions at the layer has none. ``content`` has the content image's
    maps, for statistics whose targets depend on it.

    Raises:
        ValueError: If the statistic has no weights of positions and the region has.
    """
    weights = region.masks[layer] if region.masks else None
    if not statistic.additive:
        if weights is not None or any(style.masks for style in region.styles):
            raise ValueError("the statistic has no weights of positions")
        start = None if content is None else statistic.summarize(content[layer].detach())
        for style in region.styles:
            copies = [
                statistic.summarize(maps[layer].detach()) for maps in (style.maps, *style.copies)
            ]
            summary = tuple(torch.cat(parts) for parts in zip(*copies, strict=True))
            yield Target(statistic, summary, None, region.share * style.weight, start)
        return
    if weights is not None and not weights.sum() > 0:
        return
    styles = [
        replace(style, maps=maps, weight=style.weight / (1 + len(style.copies)), copies=())
        for style in region.styles
        for maps in (style.maps, *style.copies)
    ]
    if styles[0].sums is not None:
        blended = PositionSums()
        for style in styles:
            blended.add_average(cast(Mapping[str, PositionSums], style.sums)[layer], style.weight)
        if blended.count:
            summary = statistic.from_moments(*blended.averages())
            yield Target(statistic, summary, weights, region.share)
        return
    maps, masks = _together(styles, layer)
    if masks is None or masks.sum() > 0:
        yield Target(statistic, statistic.summarize(maps, masks), weights, region.share)


def _together(styles: Sequence[Style], layer: str) -> tuple[Tensor, Tensor | None]:
    """Return the maps of styles as one, (1, N, 1, M), and the weights of its positions."""
    maps = [style.maps[layer].detach() for style in styles]
    masks = [
        style.masks[layer] if style.masks else torch.ones_like(values[:, :1])
        for style, values in zip(styles, maps, strict=True)
    ]
    if len(styles) == 1:
        return maps[0], masks[0] if styles[0].masks else None
    tiny = torch.finfo(masks[0].dtype).tiny  # of a style without positions here
    weights = [
        style.weight * mask / mask.sum().clamp(min=tiny)
        for style, mask in zip(styles, masks, strict=True)
    ]
    return (
        torch.cat([values.flatten(2) for values in maps], dim=2).unsqueeze(2),
        torch.cat([mask.flatten(2) for mask in weights], dim=2).unsqueeze(2),
    )
