"""What every statistic of a feature map offers to the objective."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

Summary = tuple[Tensor, ...]


class Statistic(ABC):
    """A summary of a feature map, and a distance between two summaries.

    A new statistic is a subclass here and a value of ``config.schema.Statistic``.
    """

    additive: ClassVar[bool] = True
    """Whether the summary is a function of sums over positions. Such a statistic can be computed
    block by block, and with a weight for each position."""

    local: ClassVar[bool] = False
    """Whether the distance is a sum over positions: the target is cut into blocks as well."""

    centered: ClassVar[bool] = False
    """Whether the summary is a difference of moments, which need float64 then."""

    normalized: bool = False
    """Whether the distance needs no division by the numbers of channels and positions: the keys
    a, b and relative of the loss do not apply then."""

    power: float = 2.0
    """Power of the number of positions M in the distance of summaries that are not per position."""

    copies: float = 0.0
    """Maps that an evaluation and its target hold in memory beside each map, about: for the
    estimate of a run's memory. Measured with benchmarks/memory.py."""

    redraw = 0
    """Steps after which the random choices of the statistic are drawn again; 0 is never."""

    jumps: bool = False
    """Whether ``match`` chooses by another measure than the distance, which then jumps where the
    choice changes: a line search needs one that is kept for the step."""

    draw = 0
    """Index of the random choices in use: they follow from the seed and this number."""

    @abstractmethod
    def summarize(self, features: Tensor, weights: Tensor | None = None) -> Summary:
        """Summarize a feature map per position, so that maps of any size can be compared.

        Args:
            features: Feature map of shape (1, N, H, W).
            weights: Weight of each position, shape (1, 1, H, W), at least 0 and not all 0; uniform
                if None.

        Raises:
            ValueError: If there is more than one image in the batch.
        """

    def from_moments(self, mean: Tensor, products: Tensor) -> Summary:
        """Summarize a map of which only moments are known, if the statistic is additive.

        Args:
            mean: F averaged over the positions, shape (N,).
            products: F F^T averaged over the positions, shape (N, N).
        """
        raise NotImplementedError

    def prepare_target(self, summary: Summary) -> Summary:
        """Add to the summary of a target what every distance to it needs."""
        return summary

    def match(self, target: Summary, summary: Summary) -> Summary:
        """Choose what of a prepared target the distance compares a summary with."""
        return target

    def distance(self, summary: Summary, target: Summary) -> Tensor:
        """Measure the distance to a matched target: the sum of squared differences."""
        return (summary[0] - target[0]).square().sum()

    def freeze(self, target: Summary, content: Summary) -> Summary:
        """Fix what a prepared target has to do with the summary of the content image."""
        return target

    def size(self, target: Summary) -> Tensor:
        """Measure a prepared target: by this a relative distance is divided."""
        return target[0].square().sum()

    def extent(self, features: Tensor) -> tuple[float, float]:
        """Return the numbers of channels N and positions M by which a distance is normalized."""
        return features.shape[1], features.shape[2] * features.shape[3]


class PositionStatistic(Statistic):
    """A statistic of the positions one by one, which are not averaged: it cannot weight them."""

    additive = False
    power = 1.0

    def summarize(self, features: Tensor, weights: Tensor | None = None) -> Summary:
        """Return the positions as rows, (M, N).

        Raises:
            ValueError: If there are weights, or more than one image in the batch.
        """
        check_batch(features)
        if weights is not None:
            raise ValueError("the statistic has no weights of positions")
        return (self.vectors(features),)

    def vectors(self, features: Tensor) -> Tensor:
        """Return what is compared at each position of a map (1, N, H, W), one row each."""
        return features[0].flatten(1).T


def check_batch(features: Tensor) -> None:
    """Refuse the feature maps of more than one image."""
    if features.shape[0] != 1:
        raise ValueError(f"feature maps of {features.shape[0]} images at once")


class FeatureMap(Statistic):
    """The feature map itself, with which the content is compared."""

    additive = False
    local = True
    power = 0.0

    def summarize(self, features: Tensor, weights: Tensor | None = None) -> Summary:
        """Return the feature map, each position times the root of its weight."""
        return (features if weights is None else features * weights.sqrt(),)
