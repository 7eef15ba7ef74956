"""The objective of images that are too large to evaluate at once: block by block, and exact.

After Galerne, Raad, Lezama and Morel 2024, "Scaling Painting Style Transfer". Additive statistics
are functions of sums over positions. A first pass over the blocks adds these up; the derivatives of
the objective by the sums are the same for all blocks, so that a second pass can compute the
gradient of each block by itself.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from nst_exp.config.loss_layers import RGB
from nst_exp.core.blocks import BlockMaps, Tiling
from nst_exp.core.encoder import map_shapes
from nst_exp.core.objective import Losses, Objective
from nst_exp.core.statistics import PositionSums
from nst_exp.core.targets import Features
from nst_exp.core.terms import LayerTerm, Term

OnBlock = Callable[[int, int], None]
"""Called after each block with the number of blocks that are done and that of all."""

_Key = tuple[str, int]  # a layer and a region


@torch.no_grad()
def whole_maps(tiling: Tiling, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Compute the feature maps of an image (1, 3, H, W) block by block."""
    shapes = map_shapes(tiling.encoder, image)
    found = {layer: image.new_empty(shapes[layer].shape) for layer in layers if layer != RGB}
    for maps in _own_maps(tiling, image, shapes):
        for layer, whole in found.items():
            rows, columns = maps[layer].places
            whole[:, :, rows, columns] = maps[layer].values.to(image.dtype)
        del maps  # not kept while those of the next block are computed
    return found | ({RGB: image} if RGB in layers else {})


@torch.no_grad()
def position_sums(
    tiling: Tiling,
    image: Tensor,
    layers: Sequence[str],
    masks: Sequence[Features | None] = (None,),
) -> list[dict[str, PositionSums]]:
    """Add up the positions of an image's feature maps block by block.

    Args:
        tiling: The blocks.
        image: Shape (1, 3, H, W), RGB in 0..1.
        layers: Those whose maps are wanted.
        masks: Weights of the positions of the network's maps; each has its own sums.

    Returns:
        For each of ``masks`` the sums by layer.
    """
    found: list[dict[str, PositionSums]] = [{} for _ in masks]
    for maps in _own_maps(tiling, image, map_shapes(tiling.encoder, image)):
        for sums, mask in zip(found, masks, strict=True):
            for layer in layers:
                features = maps[layer].values.to(image.dtype)
                weights = None if mask is None else maps[layer].part(mask[layer])
                sums.setdefault(layer, PositionSums()).add(features, weights)
        del maps
    return found


def _own_maps(tiling: Tiling, image: Tensor, shapes: Features) -> Iterator[BlockMaps]:
    height, width = image.shape[2:]
    for block in tiling.blocks(height, width):
        yield tiling.maps(block.pixels(image), block, shapes, own=True)


class TiledObjective(nn.Module):
    """An objective and its gradient, block by block, as one function of the image."""

    def __init__(
        self, tiling: Tiling, objective: Objective, on_block: OnBlock | None = None
    ) -> None:
        """Evaluate ``objective`` with the encoder and the blocks of ``tiling``."""
        super().__init__()
        self.tiling, self.objective, self.on_block = tiling, objective, on_block

    def forward(self, image: Tensor) -> Losses:
        """Evaluate at an image (1, 3, H, W) in 0..1; only the total has a gradient."""
        evaluation = _Evaluation(self, image.detach())
        found = evaluation.losses()
        losses = found.detach()
        if not (torch.is_grad_enabled() and image.requires_grad):
            return losses
        total = _WithGradient.apply(image, losses.total, evaluation.gradient(found.total))
        return replace(losses, total=cast(Tensor, total))


class _WithGradient(torch.autograd.Function):
    """A function of the image whose value and gradient are known."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        """Map an image to the value, a scalar."""
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Multiply the gradient."""
        (gradient,) = ctx.saved_tensors
        return gradients[0] * gradient, None, None


class _Evaluation:
    """One evaluation: a pass over the blocks for the losses, and another one for the gradient."""

    def __init__(self, tiled: TiledObjective, image: Tensor) -> None:
        self.tiling, self.on_block = tiled.tiling, tiled.on_block
        self.image = image.requires_grad_()
        self.shapes = map_shapes(self.tiling.encoder, image)
        self.terms = list(cast(Iterable[Term], tiled.objective.terms))
        self.layer_terms = [term for term in self.terms if isinstance(term, LayerTerm)]
        self.moments: dict[_Key, tuple[Tensor, Tensor]] = {}  # averages over the positions
        self.counts: dict[_Key, float] = {}  # of the positions
        height, width = image.shape[2:]
        self.blocks = [self.tiling.blocks(height, width, gradient) for gradient in (False, True)]
        self.exact = {
            (layer, target.region)
            for term in self.layer_terms
            for layer, _, statistic, targets in term.by_layer()
            for target in targets
            if statistic.centered
        }
        self.done = 0

    @torch.enable_grad()
    def losses(self) -> Losses:
        """Compute the losses; the total is a function of the moments and of the pixels."""
        sums: dict[_Key, PositionSums] = {}
        local: dict[tuple[Term, str], float] = {}
        for block in self.blocks[0]:
            with torch.no_grad():
                maps = self.tiling.maps(block.pixels(self.image), block, self.shapes, own=True)
                with self._full_precision():
                    found = self._add_positions(maps, sums)
                for place, loss in found.items():
                    local[place] = local.get(place, 0.0) + float(loss)
            del maps
            self._count_block()
        for key, of_key in sums.items():
            mean, products = of_key.averages()
            self.moments[key] = mean.requires_grad_(), products.requires_grad_()
            self.counts[key] = of_key.count
        total = self.image.new_zeros(())
        of_terms: dict[str, Tensor] = {}
        layers: dict[str, Tensor] = {}
        with self._full_precision():
            for term in self.terms:
                with torch.set_grad_enabled(term.weight != 0):
                    if isinstance(term, LayerTerm):
                        loss, of_layers = self._layer_term(term, local)
                    else:
                        loss, of_layers = term(self.image, {})
                of_terms[term.name] = loss
                layers |= of_layers
                if term.weight:
                    total = total + term.weight * loss
        return Losses(total, of_terms, layers)

    def gradient(self, total: Tensor) -> Tensor:
        """Compute the gradient of the total by the image, (1, 3, H, W)."""
        leaves = [self.image, *(part for parts in self.moments.values() for part in parts)]
        direct, *slopes = torch.autograd.grad(total, leaves, allow_unused=True)
        by_key = dict(zip(self.moments, zip(slopes[::2], slopes[1::2], strict=True), strict=True))
        gradient = torch.zeros_like(self.image) if direct is None else direct
        for block in self.blocks[1]:
            pixels = block.pixels(self.image.detach()).requires_grad_()
            with torch.enable_grad():
                maps = self.tiling.maps(pixels, block, self.shapes, own=False)
                with self._full_precision():
                    slope = self._block_slope(maps, by_key)
            if slope.requires_grad:
                (found,) = torch.autograd.grad(slope, pixels)
                rows, columns = (
                    slice(axis.start - axis.first, axis.stop - axis.first)
                    for axis in (block.rows, block.columns)
                )
                gradient[:, :, block.rows.inner, block.columns.inner] += found[:, :, rows, columns]
            del maps, slope
            self._count_block()
        return gradient

    def _full_precision(self) -> torch.autocast:
        """Switch half precision off, which has too few digits for sums."""
        return torch.autocast(self.image.device.type, enabled=False)

    def _count_block(self) -> None:
        self.done += 1
        if self.on_block is not None:
            self.on_block(self.done, len(self.blocks[0]) + len(self.blocks[1]))

    def _add_positions(
        self, maps: BlockMaps, sums: dict[_Key, PositionSums]
    ) -> dict[tuple[Term, str], Tensor]:
        """Add the positions of a block to ``sums``; return the losses of local statistics."""
        local: dict[tuple[Term, str], Tensor] = {}
        added: set[_Key] = set()
        for term in self.layer_terms:
            for layer, _, statistic, targets in term.by_layer():
                part = maps[layer]
                features = part.values.to(self.image.dtype)
                for target in targets:
                    weights = None if target.weights is None else part.part(target.weights)
                    key = layer, target.region
                    if statistic.local:
                        summary = statistic.summarize(features, weights)
                        to = tuple(map(part.part, target.summary()))
                        shape = self.shapes[layer]
                        loss = term.distance(statistic, summary, target, shape, to)
                        local[term, layer] = target.share * loss
                    elif key not in added:
                        added.add(key)
                        sums.setdefault(key, PositionSums(key in self.exact))
                        sums[key].add(features, weights)
        return local

    def _layer_term(
        self, term: LayerTerm, local: Mapping[tuple[Term, str], float]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute a term and the losses of its layers, as the term itself does."""
        total = self.image.new_zeros(())
        losses: dict[str, Tensor] = {}
        for layer, weight, statistic, targets in term.by_layer():
            loss = total.new_tensor(local.get((term, layer), 0.0))
            for target in targets:
                if not statistic.local:
                    summary = statistic.from_moments(*self.moments[layer, target.region])
                    distance = term.distance(statistic, summary, target, self.shapes[layer])
                    loss = loss + target.share * distance.to(loss)
            losses[f"{term.name}/{layer}"] = loss
            total = total + weight * loss
        return total, losses

    def _block_slope(
        self, maps: BlockMaps, slopes: Mapping[_Key, tuple[Tensor | None, Tensor | None]]
    ) -> Tensor:
        """Compute a scalar whose gradient by the block's pixels is that of the total."""
        sums: dict[_Key, PositionSums] = {}
        local = self._add_positions(maps, sums)
        slope = self.image.new_zeros(())
        for key, (by_mean, by_products) in slopes.items():
            if by_mean is not None:
                slope = slope + ((by_mean * sums[key].features).sum() / self.counts[key]).to(slope)
            if by_products is not None:
                products = (by_products * sums[key].products).sum() / self.counts[key]
                slope = slope + products.to(slope)
        for term in self.layer_terms:
            for layer, weight, *_ in term.by_layer():
                if (term, layer) in local and term.weight and weight:
                    slope = slope + term.weight * weight * local[term, layer]
        return slope
