"""The objective: a weighted sum of terms, with its parts for the log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from nst_exp.config import schema
from nst_exp.config.loss_layers import RGB
from nst_exp.core.image_terms import (
    LaplacianTerm,
    RangeTerm,
    VariationTerm,
    variation_of_style,
)
from nst_exp.core.targets import Features, Region, Target
from nst_exp.core.terms import ContentTerm, LayerTerm, StyleTerm, Term


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
            found: list[tuple[Tensor, dict[str, Tensor]]] = []
            # The content, which reads a deep layer, comes last: see Encoder.maps_on_demand.
            for term in cast(Iterable[Term], reversed(self.terms)):
                # If the weight is 0: 0 * infinity is NaN, and a gradient of zeros takes memory.
                with torch.set_grad_enabled(torch.is_grad_enabled() and term.weight != 0):
                    found.insert(0, term(image, features))
            for term, (loss, by_layer) in zip(cast(Iterable[Term], self.terms), found, strict=True):
                sums[term.name] = loss
                layers |= by_layer
                if term.weight:
                    total = total + term.weight * loss
        return Losses(total, sums, layers)

    def start_step(self, step: int) -> bool:
        """Prepare for a step of the level, counted from 0; tell whether it changes the objective.

        What a term draws at random follows from the seed and the step alone.
        """
        changes = [term.start_step(step) for term in cast(Iterable[Term], self.terms)]
        return any(changes)

    def jumping_targets(self) -> list[Target]:
        """Return the targets whose distance jumps where nearest neighbors change."""
        return [part for part in self.modules() if isinstance(part, Target) and part.jumps]

    @contextmanager
    def kept_neighbors(self) -> Iterator[None]:
        """Keep the neighbors of the first evaluation for all others: a function without jumps."""
        targets = self.jumping_targets()
        try:
            for target in targets:
                target.keeps = True
            yield
        finally:
            for target in targets:
                target.keeps, target.kept = False, None


def build_objective(
    loss: schema.Loss,
    alpha: float,
    beta: float,
    content_maps: Features,
    regions: Sequence[Region],
    content_masks: Features | None = None,
    seed: int = 0,
    wraps: bool = False,
) -> Objective:
    """Build the objective of a config: alpha * content + beta * style + total variation + range.

    ``loss`` names the layers of each term. The style is ``loss.style`` and the weighted terms of
    ``loss.more``; both compare each region with its styles. ``content_masks`` are weights of the
    positions of the content. What terms draw at random follows from ``seed``. If the image
    ``wraps``, its total variation counts opposite borders as neighbors.
    """
    of_styles = regions, content_maps, seed
    more = loss.more.items()
    edges = loss.laplacian.weights
    objective = Objective(
        [
            ContentTerm(loss.content, alpha, content_maps, content_masks, seed),
            StyleTerm("style", loss.style, beta, *of_styles),
            *(StyleTerm(name, term, beta * term.weight, *of_styles) for name, term in more),
            VariationTerm(loss.tv, _variation_factor(regions) if loss.tv.auto else 1.0, wraps),
            *([LaplacianTerm(loss.laplacian, content_maps[RGB])] if edges else []),
            RangeTerm(loss.range_weight),
        ]
    )
    for term in objective.terms:
        if isinstance(term, LayerTerm):
            term.normalizes = loss.normalize_gradients
    return objective


def _variation_factor(regions: Sequence[Region]) -> float:
    """Average the factor on total variation over the styles of all regions."""
    styles = [(region.share * style.weight, style) for region in regions for style in region.styles]
    total = sum(weight for weight, _ in styles)
    return sum(w * variation_of_style(style.maps[RGB]) for w, style in styles) / total
