"""The terms of the image alone: total variation, edges of the content image, and range."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from nst_exp.config import schema
from nst_exp.config.schema import TVKind
from nst_exp.core.targets import Features
from nst_exp.core.terms import Term
from nst_exp.utils.errors import ConfigError

LossFunction = Callable[[Tensor], Tensor]  # of the image (1, 3, H, W) in 0..1, to a scalar


class FunctionTerm(Term):
    """A loss that a caller defines, with its weight in it."""

    def __init__(self, name: str, function: LossFunction) -> None:
        super().__init__(name, 1.0)
        self.function = function

    def forward(self, image: Tensor, features: Features) -> tuple[Tensor, dict[str, Tensor]]:
        """Call the function with the image.

        Raises:
            ConfigError: If it returns something else than a scalar tensor.
        """
        loss = self.function(image)
        if not torch.is_tensor(loss) or loss.dim():
            what = f"shape {tuple(loss.shape)}" if torch.is_tensor(loss) else type(loss).__name__
            raise ConfigError(f"terms: {self.name} returns {what}; return a scalar tensor")
        return loss, {}


class VariationTerm(Term):
    """How much neighboring pixels differ."""

    def __init__(self, settings: schema.TVLoss, factor: float = 1.0, wraps: bool = False) -> None:
        super().__init__("tv", settings.weight * factor)
        self.settings, self.wraps = settings, wraps

    def forward(self, image: Tensor, features: Features) -> tuple[Tensor, dict[str, Tensor]]:
        """Measure the total variation of the image."""
        return total_variation(image, self.settings, self.wraps), {}


class LaplacianTerm(Term):
    """Sum over pools of weight * mean (L(x) - L(content))^2: the edges of the content image.

    Li et al. 2017, "Laplacian-Steered Neural Style Transfer": the images are averaged over squares
    of pool x pool pixels; L is the sum over R, G and B of the 3 x 3 Laplacian, 4 times a value
    minus its four neighbors, where all of them exist.
    """

    content: Tensor

    def __init__(self, settings: schema.LaplacianLoss, content: Tensor) -> None:
        """Keep the edges of ``content``, (1, 3, H, W) in 0..1.

        Raises:
            ConfigError: If a pool leaves no value with four neighbors.
        """
        super().__init__("laplacian", 1.0)
        self.settings = settings
        for pool in settings.pools:
            height, width = (side // pool for side in content.shape[2:])
            if min(height, width) < 3:
                raise ConfigError(
                    f"loss.laplacian.pools: {pool} leaves {width}x{height} values of the image, "
                    "and 3x3 are the least; use a smaller one"
                )
        self.register_buffer("content", content.detach().clone(), persistent=False)

    def forward(self, image: Tensor, features: Features) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare the Laplacians of the image with the content's."""
        total = image.new_zeros(())
        difference = (image - self.content).sum(dim=1, keepdim=True)
        for pool, weight in zip(self.settings.pools, self.settings.weights, strict=True):
            x = avg_pool2d(difference, pool)
            neighbors = x[..., 2:, 1:-1] + x[..., :-2, 1:-1] + x[..., 1:-1, 2:] + x[..., 1:-1, :-2]
            total = total + weight * (4.0 * x[..., 1:-1, 1:-1] - neighbors).square().mean()
        return total, {}


class RangeTerm(Term):
    """Mean square of what lies outside 0..1, which is cut off when the image is saved."""

    def __init__(self, weight: float) -> None:
        super().__init__("range", weight)

    def forward(self, image: Tensor, features: Features) -> tuple[Tensor, dict[str, Tensor]]:
        """Measure how far the image leaves 0..1."""
        return (image - image.clamp(0.0, 1.0)).square().mean(), {}


def total_variation(image: Tensor, settings: schema.TVLoss, wraps: bool = False) -> Tensor:
    """Compute the total variation of an image (1, 3, H, W) in 0..1.

    l1: ``sum |dx| + |dy|``. l2: ``sum dx^2 + dy^2``. l2_interior: l2 over the pixels that have a
    neighbor both to the right and below. l2_nine:
    ``2 (dx^2 / 3 + dy^2 / 3 + both diagonals^2 / 12)`` over the image with its border repeated
    once. The mean is over all values that are summed; for l1 and l2 over the image's. Pixels are
    scaled to 0..pixel_range and divided by channel_std before.

    If the image ``wraps``, opposite borders are neighbors and every pixel has all neighbors.
    """
    x = image * settings.pixel_range
    if settings.channel_std:
        x = x / x.new_tensor(settings.channel_std).view(1, 3, 1, 1)
    mean = settings.reduction is schema.Reduction.mean
    if wraps:
        total = _wrapped_variation(x, settings.kind)
        return total / image.numel() if mean else total
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


def _wrapped_variation(x: Tensor, kind: TVKind) -> Tensor:
    directions = ((0, -1), (-1, 0), (-1, -1), (-1, 1))
    dx, dy, falling, rising = (x.roll(shift, (2, 3)) - x for shift in directions)
    if kind is TVKind.l1:
        return dx.abs().sum() + dy.abs().sum()
    straight = dx.square().sum() + dy.square().sum()
    if kind is not TVKind.l2_nine:
        return straight
    return 2.0 / 3.0 * straight + (falling.square().sum() + rising.square().sum()) / 6.0


def variation_of_style(image: Tensor) -> float:
    """Compute the factor on the weight of total variation from a style image (1, 3, H, W) in 0..1.

    10 / (1 + exp(1e4 * noise - 25)), where the noise is the median of (dx^2 + dy^2) / 2 over pixels
    and channels: from 10 for smooth images to 0 for rough ones. From the program of Luan et al.
    2018, "Deep Painterly Harmonization", for the losses of Risser, Wilmot and Barnes 2017.
    """
    corner = image[..., :-1, :-1]
    dx, dy = image[..., :-1, 1:] - corner, image[..., 1:, :-1] - corner
    squares = (dx.square() + dy.square()) / 2.0
    noise = float(squares.median()) if squares.numel() else 0.0  # of a line of pixels
    return 10.0 / (1.0 + math.exp(min(1e4 * noise - 25.0, 700.0)))
