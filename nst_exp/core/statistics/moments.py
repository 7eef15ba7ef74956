"""Mean, standard deviation and covariance of the channels, and distances made of them."""

from typing import Any, cast

import torch
from torch import Tensor

from nst_exp.core.statistics.gram import gram_matrix
from nst_exp.core.statistics.interface import Statistic, Summary, check_batch

RIDGE = 1e-4  # on the covariance's diagonal, so that its root has a finite gradient


class PositionSums:
    """Sums over the positions of a map, or of parts of it: of all additive statistics.

    Attributes:
        count: Number of the positions, or the sum of their weights.
    """

    def __init__(self, exact: bool = True) -> None:
        """Start at zero; products of two channels are in float64 if they have to be ``exact``."""
        self.exact, self.count = exact, 0.0
        self.features: Tensor | float = 0.0
        self.products: Tensor | float = 0.0

    def add(self, features: Tensor, weights: Tensor | None = None) -> None:
        """Add the positions of a map (1, N, H, W), with weights (1, 1, H, W)."""
        check_batch(features)
        positions = features.shape[2] * features.shape[3]
        if not positions:
            return
        double = _double(features)
        features = features.to(double) if self.exact else features
        if weights is not None:
            weights = weights.to(features)
        self.count += float(positions if weights is None else weights.sum())
        weighted = features if weights is None else features * weights
        roots = features if weights is None else features * weights.sqrt()
        self.features = self.features + weighted.sum(dim=(0, 2, 3)).to(double)
        self.products = self.products + gram_matrix(roots).to(double) * positions

    def add_average(self, other: "PositionSums", weight: float) -> None:
        """Add the averages of other positions, if there are any, as one of this weight."""
        if other.count:
            mean, products = other.averages()
            self.count += weight
            self.features = self.features + weight * mean
            self.products = self.products + weight * products

    def averages(self) -> tuple[Tensor, Tensor]:
        """Return the averages of F, (N,), and of F F^T, (N, N)."""
        return cast(Tensor, self.features / self.count), cast(Tensor, self.products / self.count)


def _double(features: Tensor) -> torch.dtype:
    return torch.float32 if features.device.type == "mps" else torch.float64


class Mean(Statistic):
    """The mean of each channel over the positions, shape (N,)."""

    def summarize(self, features: Tensor, weights: Tensor | None = None) -> Summary:
        """Summarize a feature map (1, N, H, W)."""
        return (channel_means(features, weights),)

    def from_moments(self, mean: Tensor, products: Tensor) -> Summary:
        """Summarize a map of which the moments are known."""
        return (mean,)


class StandardDeviation(Statistic):
    """The standard deviation of each channel over the positions, shape (N,)."""

    centered = True
    copies = 2.0

    def summarize(self, features: Tensor, weights: Tensor | None = None) -> Summary:
        """Summarize a feature map (1, N, H, W)."""
        centered = features - channel_means(features, weights)[None, :, None, None]
        return (_roots(channel_means(centered.square(), weights)),)

    def from_moments(self, mean: Tensor, products: Tensor) -> Summary:
        """Summarize a map of which the moments are known."""
        return (_roots(products.diagonal() - mean.square()),)


class Covariance(Statistic):
    """The covariance of the channels over the positions, shape (N, N)."""

    centered = True
    copies = 1.0

    def summarize(self, features: Tensor, weights: Tensor | None = None) -> Summary:
        """Summarize a feature map (1, N, H, W)."""
        return (mean_and_covariance(features, weights)[1],)

    def from_moments(self, mean: Tensor, products: Tensor) -> Summary:
        """Summarize a map of which the moments are known."""
        return (products - torch.outer(mean, mean),)


class MomentsL1(Statistic):
    """Mean absolute differences of the means, and of the covariances, of the channels.

    The moment loss of Kolkin, Salavon and Shakhnarovich 2019 (STROTSS).
    """

    centered = True
    copies = 1.0
    normalized = True

    def summarize(self, features: Tensor, weights: Tensor | None = None) -> Summary:
        """Summarize a feature map (1, N, H, W)."""
        return mean_and_covariance(features, weights)

    def from_moments(self, mean: Tensor, products: Tensor) -> Summary:
        """Summarize a map of which the moments are known."""
        return mean, products - torch.outer(mean, mean)

    def distance(self, summary: Summary, target: Summary) -> Tensor:
        """Measure the distance to a target."""
        (mean, covariance), (target_mean, target_covariance) = summary, target
        spread = (covariance - target_covariance).abs().mean()
        return (mean - target_mean).abs().mean() + spread


class Wasserstein2(Statistic):
    """The 2-Wasserstein distance of normal distributions with the maps' mean and covariance.

    ``|mu - mu_t|^2 + tr(S + S_t - 2 (S_t^1/2 S S_t^1/2)^1/2)``, all divided by N, as in
    crowsonkb/style-transfer-pytorch (StyleLossW2). The summary is mu and S, with RIDGE on the
    diagonal. All is computed in float64: the product of the covariances has a condition number
    beyond float32, in which the gradient would be off by 1 to 20 %.

    The roots are exact, or those of ``root_iterations`` Newton-Schulz iterations, which are always
    too small: that program makes 12.
    """

    centered = True
    copies = 2.0  # in float64
    normalized = True

    def __init__(self, root_iterations: int | None = None) -> None:
        self.root_iterations = root_iterations

    def summarize(self, features: Tensor, weights: Tensor | None = None) -> Summary:
        """Summarize a feature map (1, N, H, W)."""
        mean, covariance = mean_and_covariance(features.double(), weights)
        return mean, _with_ridge(covariance)

    def from_moments(self, mean: Tensor, products: Tensor) -> Summary:
        """Summarize a map of which the moments are known."""
        return mean, _with_ridge(products - torch.outer(mean, mean))

    def prepare_target(self, summary: Summary) -> Summary:
        """Add the symmetric root of the covariance."""
        mean, covariance = summary
        values, vectors = torch.linalg.eigh(covariance)
        return mean, covariance, (vectors * self._roots(values)) @ vectors.T

    def distance(self, summary: Summary, target: Summary) -> Tensor:
        """Measure the squared distance to a prepared target, over N."""
        mean, covariance = summary
        target_mean, target_covariance, target_root = target
        # Only the trace of the inner root is needed: the sum of the roots of the eigenvalues.
        values = torch.linalg.eigvalsh(target_root @ covariance @ target_root)
        roots = self._roots(values)
        spread = covariance.trace() + target_covariance.trace() - 2.0 * roots.sum()
        distance: Tensor = (mean - target_mean).square().sum() + spread
        return distance / len(mean)

    def _roots(self, values: Tensor) -> Tensor:
        """Compute the roots of the eigenvalues (N,) of a symmetric matrix."""
        if self.root_iterations is not None:
            return cast(Tensor, _NewtonSchulzRoots.apply(values, self.root_iterations))
        # Those that rounding has made 0 or negative have no part in the gradient.
        roots: Tensor = values.clamp(min=torch.finfo(values.dtype).tiny).sqrt()
        return roots


class _NewtonSchulzRoots(torch.autograd.Function):
    """Roots of a symmetric matrix's eigenvalues by a number of Newton-Schulz iterations.

    All iterates are polynomials of the matrix, so its eigenvalues can be iterated instead. The
    gradient is not that of these iterations: for an exact root R it is the solution X of
    R X + X R = 1 (Lin and Maji 2017, "Improved Bilinear Pooling with CNNs"), and X is computed by
    as many Newton-Schulz iterations for the sign of R. Both as in crowsonkb/style-transfer-pytorch.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, iterations: int) -> Tensor:
        """Map eigenvalues (N,) to roots (N,); those of zeros are zeros."""
        norm = torch.linalg.vector_norm(values).clamp(min=torch.finfo(values.dtype).tiny)
        roots, inverses = values / norm, torch.ones_like(values)
        for _ in range(iterations):
            factor = (3.0 - inverses * roots) / 2.0
            roots, inverses = roots * factor, inverses * factor
        result: Tensor = roots * norm.sqrt()
        ctx.save_for_backward(result)
        ctx.iterations = iterations
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Multiply by the eigenvalues of X, (N,)."""
        (roots,) = ctx.saved_tensors
        norm = torch.linalg.vector_norm(roots).clamp(min=torch.finfo(roots.dtype).tiny)
        signs, slopes = roots / norm, gradients[0] / (2.0 * norm)
        for _ in range(ctx.iterations):
            factor = (3.0 - signs.square()) / 2.0
            signs, slopes = signs * factor, slopes * factor
        return slopes, None


def _with_ridge(covariance: Tensor) -> Tensor:
    return covariance + RIDGE * torch.eye(
        len(covariance), dtype=covariance.dtype, device=covariance.device
    )


def _roots(variances: Tensor) -> Tensor:
    # The root of 0, of a channel that is constant, has no finite gradient.
    return variances.clamp(min=torch.finfo(variances.dtype).tiny).sqrt()


def channel_means(features: Tensor, weights: Tensor | None = None) -> Tensor:
    """Average a feature map (1, N, H, W) over positions, with weights (1, 1, H, W): (N,)."""
    check_batch(features)
    if weights is None:
        return features.mean(dim=(0, 2, 3))
    return (features * weights).sum(dim=(0, 2, 3)) / weights.sum()


def mean_and_covariance(features: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Compute mean (N,) and covariance (N, N) of a feature map (1, N, H, W) over its positions."""
    mean = channel_means(features, weights)
    return mean, gram_matrix(features - mean[None, :, None, None], weights)
