"""The Gram matrix of Gatys et al.: products of all pairs of channels, summed over positions."""

import math
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_weight

from nst_exp.core.statistics.interface import Statistic, Summary, check_batch


def gram_matrix(features: Tensor, weights: Tensor | None = None) -> Tensor:
    """Compute the Gram matrix of a feature map, averaged over positions.

    Gatys et al. 2016, Eq. 3, divided by the number of positions M = H * W, so that images of
    different sizes can be compared.

    Args:
        features: Feature map of shape (1, N, H, W).
        weights: Weight of each position, shape (1, 1, H, W); uniform if None.

    Returns:
        Gram matrix of shape (N, N).

    Raises:
        ValueError: If there is more than one image in the batch.
    """
    check_batch(features)
    if weights is not None:
        features = features * (weights / weights.mean()).sqrt()
    return cast(Tensor, _GramMatrix.apply(features))


class Gram(Statistic):
    """The Gram matrix of F + shift per position, shape (N, N).

    Novak and Nikulin 2016, "Improving the Neural Algorithm of Artistic Style": a shift of -1 keeps
    the products of features that are near 0 from vanishing.
    """

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift
        self.copies = 1.0 if shift else 0.0

    def summarize(self, features: Tensor, weights: Tensor | None = None) -> Summary:
        """Summarize a feature map (1, N, H, W)."""
        return (gram_matrix(features + self.shift if self.shift else features, weights),)

    def from_moments(self, mean: Tensor, products: Tensor) -> Summary:
        """Summarize a map of which the moments are known."""
        return (_shifted(mean, products, self.shift),)


class CrossGram(Statistic):
    """The products of the channels of two layers per position, shape (N_1, N_2).

    Novak and Nikulin 2016. The maps of both layers are one after the other in the channels of one
    map, those of the first layer are ``channels`` many. N is the geometric mean of both numbers.
    """

    def __init__(self, channels: int, shift: float = 0.0) -> None:
        self.channels, self.shift = channels, shift

    def summarize(self, features: Tensor, weights: Tensor | None = None) -> Summary:
        """Summarize a feature map (1, N_1 + N_2, H, W)."""
        check_batch(features)
        features = features + self.shift
        if weights is not None:
            features = features * (weights / weights.mean()).sqrt()
        rows = features[0].flatten(1)
        return (rows[: self.channels] @ rows[self.channels :].T / rows.shape[1],)

    def from_moments(self, mean: Tensor, products: Tensor) -> Summary:
        """Summarize a map of which the moments are known."""
        shifted = _shifted(mean, products, self.shift)
        return (shifted[: self.channels, self.channels :],)

    def extent(self, features: Tensor) -> tuple[float, float]:
        """Return N and M."""
        channels, positions = super().extent(features)
        return math.sqrt(self.channels * (channels - self.channels)), positions


def _shifted(mean: Tensor, products: Tensor, shift: float) -> Tensor:
    """Compute the products of F + shift from the moments of F."""
    return products + shift * (mean[:, None] + mean[None, :]) + shift**2


class _GramMatrix(torch.autograd.Function):
    """F F^T / M with a gradient of one product, (g + g^T) F / M, instead of autograd's two."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        """Map (1, N, H, W) to (N, N)."""
        ctx.save_for_backward(features)
        _, channels, height, width = features.shape
        if _by_convolution(features):
            shape = (channels, channels, 1, 1)
            products: Tensor = conv2d_weight(features, shape, features)  # type: ignore[no-untyped-call]
            return products[:, :, 0, 0] / (height * width)
        # (M, N) is a view, whether the map is stored channels first or channels last.
        rows = features.permute(0, 2, 3, 1).reshape(height * width, channels)
        return rows.T @ rows / (height * width)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Map (N, N) to (1, N, H, W)."""
        (features,) = ctx.saved_tensors
        (gradient,) = gradients
        mix = (gradient + gradient.T) / (features.shape[2] * features.shape[3])
        if _by_convolution(features):
            return conv2d(features, mix[:, :, None, None])
        return torch.einsum("ij,bjhw->bihw", mix, features)


def _by_convolution(features: Tensor) -> bool:
    """Tell whether oneDNN computes the products faster, as those of a 1x1 convolution."""
    return features.device.type == "cpu" and features.dtype is torch.float32
