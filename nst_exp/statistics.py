"""Style statistics: pure functions of one feature map."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import conv2d


class _GramMatrix(torch.autograd.Function):
    """F F^T / M with a gradient of one product, (g + g^T) F / M, in place of autograd's two."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        """(1, N, H, W) -> (N, N)."""
        ctx.save_for_backward(features)
        _, channels, height, width = features.shape
        # (M, N) is a view, whether the map is stored channels first or channels last.
        rows = features.permute(0, 2, 3, 1).reshape(height * width, channels)
        return rows.T @ rows / (height * width)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """(N, N) -> (1, N, H, W)."""
        (features,) = ctx.saved_tensors
        (gradient,) = gradients
        mix = (gradient + gradient.T) / (features.shape[2] * features.shape[3])
        if features.device.type == "cpu":
            # The same product; oneDNN's convolution is faster than the matrix product here.
            return conv2d(features, mix[:, :, None, None])
        return torch.einsum("ij,bjhw->bihw", mix, features)


def gram_matrix(features: Tensor) -> Tensor:
    """Gram matrix per position, F F^T / M, of a feature map (1, N, H, W) -> (N, N), M = H W.

    Gatys et al. 2016, Eq. 3, divided by M, so that images of different sizes can be compared.
    """
    return cast(Tensor, _GramMatrix.apply(features))
