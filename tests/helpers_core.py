"""Random feature maps, and references in float64 that more than one test of core uses."""

import torch
from torch import Tensor

RIDGE = 1e-4  # on the covariances of crowsonkb/style-transfer-pytorch


def random_maps(seed: int, channels: int = 4, height: int = 5, width: int = 6) -> Tensor:
    """Normal values, (1, channels, height, width) in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, channels, height, width, dtype=torch.float64, generator=generator)


def exact_wasserstein2(features: Tensor, style: Tensor) -> Tensor:
    """The distance of crowsonkb's StyleLossW2 without a root of the product of covariances.

    The trace of (S_t^1/2 S S_t^1/2)^1/2 is the nuclear norm of L_t^T [F - mean, root of ridge] with
    L_t L_t^T = S_t: singular values do not square the condition number, as eigenvalues do.
    """
    x, y = (values.double()[0].flatten(1) for values in (features, style))
    n, m = x.shape
    ridge = RIDGE * torch.eye(n, dtype=torch.float64)
    root = torch.linalg.cholesky(torch.cov(y, correction=0) + ridge)
    centered = x - x.mean(dim=1, keepdim=True)
    joined = torch.cat([centered / m**0.5, ridge.sqrt()], dim=1)
    nuclear = torch.linalg.svdvals(root.T @ joined).sum()
    spread = joined.square().sum() + root.square().sum() - 2 * nuclear
    return ((x.mean(dim=1) - y.mean(dim=1)).square().sum() + spread) / n
