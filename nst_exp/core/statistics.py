"""Style statistics: pure functions of one feature map, and the distances between them."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_weight

RIDGE = 1e-4  # on the covariance's diagonal, so that its root has a finite gradient


class _GramMatrix(torch.autograd.Function):
    """F F^T / M with a gradient of one product, (g + g^T) F / M, in place of autograd's two."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        """(1, N, H, W) -> (N, N)."""
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
        """(N, N) -> (1, N, H, W)."""
        (features,) = ctx.saved_tensors
        (gradient,) = gradients
        mix = (gradient + gradient.T) / (features.shape[2] * features.shape[3])
        if _by_convolution(features):
            return conv2d(features, mix[:, :, None, None])
        return torch.einsum("ij,bjhw->bihw", mix, features)


def _by_convolution(features: Tensor) -> bool:
    """Whether oneDNN has the same products as those of a 1x1 convolution, which are faster."""
    return features.device.type == "cpu" and features.dtype is torch.float32


def gram_matrix(features: Tensor) -> Tensor:
    """Gram matrix per position, F F^T / M, of a feature map (1, N, H, W) -> (N, N), M = H W.

    Gatys et al. 2016, Eq. 3, divided by M, so that images of different sizes can be compared.
    Raises ValueError for maps of more than one image.
    """
    if features.shape[0] != 1:
        raise ValueError(f"feature maps of {features.shape[0]} images at once")
    return cast(Tensor, _GramMatrix.apply(features))


class Moments(NamedTuple):
    """Mean (N,) and covariance (N, N) of a feature map's channels over its positions."""

    mean: Tensor
    covariance: Tensor


def moments(features: Tensor) -> Moments:
    """Mean and covariance, with RIDGE on its diagonal, of a feature map (1, N, H, W)."""
    mean = features.mean(dim=(0, 2, 3))
    ridge = RIDGE * torch.eye(len(mean), dtype=mean.dtype, device=mean.device)
    return Moments(mean, gram_matrix(features) - torch.outer(mean, mean) + ridge)


def symmetric_root(matrix: Tensor) -> Tensor:
    """The symmetric square root of a symmetric matrix without negative eigenvalues, (N, N)."""
    values, vectors = torch.linalg.eigh(matrix)
    # Rounding may leave eigenvalues a little below zero.
    root: Tensor = (vectors * values.clamp(min=0.0).sqrt()) @ vectors.T
    return root


def wasserstein2(image: Moments, target: Moments, target_root: Tensor) -> Tensor:
    """Squared 2-Wasserstein distance of two normal distributions, over the number of channels.

    |mu - mu_t|^2 + tr(S + S_t - 2 (S_t^1/2 S S_t^1/2)^1/2), all divided by N, as in
    crowsonkb/style-transfer-pytorch (StyleLossW2). ``target_root`` is S_t^1/2. Only the trace of
    the inner root is needed, so the sum of the roots of the eigenvalues will do.
    """
    inner = target_root @ image.covariance @ target_root
    values = torch.linalg.eigvalsh(inner)
    # Those that rounding has pushed to zero and below have no part in the gradient.
    roots = values.clamp(min=torch.finfo(values.dtype).tiny).sqrt()
    spread = image.covariance.trace() + target.covariance.trace() - 2.0 * roots.sum()
    distance: Tensor = (image.mean - target.mean).square().sum() + spread
    return distance / len(image.mean)
