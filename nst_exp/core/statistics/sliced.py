"""Distances of sorted lists: histograms of channels, and the sliced Wasserstein distance."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from nst_exp.core.statistics.interface import PositionStatistic, Summary
from nst_exp.core.statistics.random_choices import generator


class Histogram(PositionStatistic):
    """Squared differences between a map and the same map with the histograms of the target.

    Risser, Wilmot and Barnes 2017, "Stable and Controllable Neural Texture Synthesis and Style
    Transfer Using Histogram Losses": sum over the channels of the mean of (F - R(F))^2. R
    gives the value of rank k of a channel the target's value of the same quantile: exact instead of
    the paper's 256 bins. It is constant in the gradient, as there; the differences of sorted lists
    have that gradient.
    """

    copies = 7.0  # lists, sorted, and their ranks in int64

    def prepare_target(self, summary: Summary) -> Summary:
        """Sort the values of each channel: (N, M)."""
        return (_sorted(summary[0].T),)

    def distance(self, summary: Summary, target: Summary) -> Tensor:
        """Measure the distance to a prepared target."""
        return _squared_differences(summary[0].T, target[0]).sum()

    def size(self, target: Summary) -> Tensor:
        """Measure a prepared target."""
        return target[0].square().mean(dim=1).sum()


class Sliced(PositionStatistic):
    """The squared sliced 2-Wasserstein distance of the positions' vectors, times N.

    Heitz et al. 2021, "A Sliced Wasserstein Loss for Neural Texture Synthesis": the vectors
    are projected on random directions, and the sorted projections compared. The directions are
    orthogonal to each other, up to N of them; the paper draws each by itself.
    """

    copies = 7.0  # lists, sorted, and their ranks in int64

    def __init__(self, directions: int | None, seed: int, redraw: int) -> None:
        """Project on ``directions``, None for N of them, which follow from ``seed``."""
        self.directions, self.seed, self.redraw = directions, seed, redraw

    def prepare_target(self, summary: Summary) -> Summary:
        """Sort the projections on each direction, (K, M), and add the directions, (K, N)."""
        (vectors,) = summary
        directions = self._directions(vectors.shape[1]).to(vectors)
        return _sorted(directions @ vectors.T), directions

    def distance(self, summary: Summary, target: Summary) -> Tensor:
        """Measure the distance to a prepared target."""
        (vectors,), (projections, directions) = summary, target
        found = _squared_differences(directions @ vectors.T, projections)
        return found.mean() * vectors.shape[1]

    def size(self, target: Summary) -> Tensor:
        """Measure a prepared target."""
        projections, directions = target
        return projections.square().mean() * directions.shape[1]

    def _directions(self, channels: int) -> Tensor:
        """Draw unit vectors (K, N); every N of them are orthogonal to each other."""
        count = self.directions or channels
        random = generator(self.seed, self.draw, "directions")
        bases = [
            torch.linalg.qr(torch.randn(channels, channels, generator=random).double()).Q.T
            for _ in range(0, count, channels)
        ]
        return torch.cat(bases)[:count]


def _sorted(lists: Tensor) -> Tensor:
    return lists.sort(dim=1, stable=True).values


def _squared_differences(lists: Tensor, target: Tensor) -> Tensor:
    """Compare lists (K, M) with sorted ones of any length, quantile by quantile: means, (K,)."""
    if target.shape[1] != lists.shape[1]:
        size = lists.shape[1]
        target = interpolate(target[None], size=size, mode="linear", align_corners=False)[0]
    return (_sorted(lists) - target).square().mean(dim=1)
