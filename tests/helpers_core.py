"""Random feature maps, and references in float64 that more than one test of core uses."""

from collections.abc import Callable
from math import floor
from typing import Any, cast

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


def linear(distance: float) -> float:
    return max(0.0, 1.0 - distance)


def cubic(distance: float) -> float:
    """Keys' kernel with a = -3/4."""
    if distance < 1:
        return 1.25 * distance**3 - 2.25 * distance**2 + 1
    return max(0.0, 2 - distance) ** 2 * 0.75 * (1 - distance)


def resampled(image: Tensor, height: int, width: int, kernel: Callable[[float], float]) -> Tensor:
    """Interpolate (1, C, h, w) between pixel centers; pixels beyond the border repeat it."""
    for axis, size in ((2, height), (3, width)):
        n = image.shape[axis]
        weights = torch.zeros(size, n, dtype=image.dtype)
        for index in range(size):
            place = (index + 0.5) * n / size - 0.5
            for k in range(floor(place) - 1, floor(place) + 3):
                weights[index, min(max(k, 0), n - 1)] += kernel(abs(place - k))
        image = (image.transpose(axis, -1) @ weights.T).transpose(axis, -1)
    return image


class NewtonSchulzRoot(torch.autograd.Function):
    """The root of a symmetric matrix as in crowsonkb's program, with whole matrices.

    The gradient is the upper right block of the sign of [[R, g], [0, -R]], over 2: it solves
    R X + X R = g, as far as the iterations for the sign have converged.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, iterations: int) -> Tensor:
        """Map (N, N) to (N, N)."""
        three, norm = 3 * torch.eye(len(matrix), dtype=matrix.dtype), matrix.norm()
        y, z = matrix / norm, three / 3
        for _ in range(iterations):
            y, z = y @ (three - z @ y) / 2, (three - z @ y) @ z / 2
        ctx.iterations = iterations
        ctx.save_for_backward(root := y * norm.sqrt())
        return root

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Map (N, N) to (N, N)."""
        (root,) = ctx.saved_tensors
        zeros, n = torch.zeros_like(root), len(root)
        rows = [torch.cat([root, gradients[0]], 1), torch.cat([zeros, -root], 1)]
        sign = torch.cat(rows) / root.norm()
        for _ in range(ctx.iterations):
            sign = sign @ (3 * torch.eye(2 * n, dtype=root.dtype) - sign @ sign) / 2
        return sign[:n, n:] / 2, None


def iterated_wasserstein2(features: Tensor, style: Tensor, iterations: int = 12) -> Tensor:
    """The distance of crowsonkb's StyleLossW2 with the roots that its program computes."""
    means, covariances = [], []
    for values in (features, style):
        x = values[0].flatten(1)
        means.append(x.mean(dim=1))
        covariances.append(torch.cov(x, correction=0) + RIDGE * torch.eye(len(x), dtype=x.dtype))
    image, target = covariances
    root = NewtonSchulzRoot.apply(target, iterations)
    inner = cast(Tensor, NewtonSchulzRoot.apply(root @ image @ root, iterations))
    return (means[0] - means[1]).square().mean() + (image + target - 2 * inner).diagonal().mean()
