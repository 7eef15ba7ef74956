"""The objective: a weighted sum of terms, with its parts for the log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from nst_exp.config import schema
from nst_exp.core.targets import Features, Region
from nst_exp.core.terms import ContentTerm, RangeTerm, StyleTerm, Term, VariationTerm


@dataclass(frozen=True)
class Losses:
    """One evaluation. All are scalars; only ``total`` contains the weights of the terms."""

    total: Tensor
    sums: dict[str, Tensor]  # each term by its name: content, style, tv, range, ...
    layers: dict[str, Tensor]  # "content/relu4_2": a layer's loss, without the layer's weight

    def detach(self) -> Losses:
        """Copy the losses without the graph that made them."""
        sums = {name: loss.detach() for name, loss in self.sums.items()}
        layers = {name: loss.detach() for name, loss in self.layers.items()}
        return Losses(self.total.detach(), sums, layers)

    def as_floats(self) -> dict[str, float]:
        """Convert to Python numbers under the names that are logged."""
        values = {"total": self.total} | self.sums | self.layers
        return {name: float(value.detach()) for name, value in values.items()}


class Objective(nn.Module):
    """A weighted sum of terms; one whose weight is 0 is measured but not part of the total."""

    def __init__(self, terms: Sequence[Term]) -> None:
        super().__init__()
        self.terms = nn.ModuleList(terms)

    def forward(self, image: Tensor, features: Features) -> Losses:
        """Evaluate at an image (1, 3, H, W) in 0..1 with its feature maps, each (1, N, h, w)."""
        total = image.new_zeros(())
        sums: dict[str, Tensor] = {}
        layers: dict[str, Tensor] = {}
        # Half precision has too few digits for sums over thousands of products.
        with torch.autocast(image.device.type, enabled=False):
            for term in cast(Iterable[Term], self.terms):
                sums[term.name], by_layer = term(image, features)
                layers |= by_layer
                if term.weight:  # 0 * infinity is NaN, and a gradient of zeros takes time as well
                    total = total + term.weight * sums[term.name]
        return Losses(total, sums, layers)


def build_objective(
    loss: schema.Loss,
    alpha: float,
    beta: float,
    content_maps: Features,
    regions: Sequence[Region],
    content_masks: Features | None = None,
) -> Objective:
    """Build the objective of a config: alpha * content + beta * style + total variation + range.

    ``loss`` names the layers of each term. The style is ``loss.style`` and the weighted terms of
    ``loss.more``; both compare each region with its styles. ``content_masks`` are weights of the
    positions of the content.
    """
    return Objective(
        [
            ContentTerm(loss.content, alpha, content_maps, content_masks),
            StyleTerm("style", loss.style, beta, regions),
            *(StyleTerm(n, term, beta * term.weight, regions) for n, term in loss.more.items()),
            VariationTerm(loss.tv),
            RangeTerm(loss.range_weight),
        ]
    )
