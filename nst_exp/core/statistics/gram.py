"""The Gram matrix of Gatys et al.: products of all pairs of channels, summed over positions."""

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
    """The Gram matrix per position, shape (N, N)."""

    def summarize(self, features: Tensor, weights: Tensor | None = None) -> Summary:
        """Summarize a feature map (1, N, H, W)."""
        return (gram_matrix(features, weights),)


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
