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

    normalized: ClassVar[bool] = False
    """Whether the distance needs no division by the numbers of channels and positions: the keys
    a, b and relative of the loss do not apply then."""

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

    def prepare_target(self, summary: Summary) -> Summary:
        """Add to the summary of a target what every distance to it needs."""
        return summary

    def distance(self, summary: Summary, target: Summary) -> Tensor:
        """Measure the distance to a prepared target: the sum of squared differences."""
        return (summary[0] - target[0]).square().sum()


def check_batch(features: Tensor) -> None:
    """Refuse the feature maps of more than one image."""
    if features.shape[0] != 1:
        raise ValueError(f"feature maps of {features.shape[0]} images at once")


class FeatureMap(Statistic):
    """The feature map itself, with which the content is compared."""

    additive = False

    def summarize(self, features: Tensor, weights: Tensor | None = None) -> Summary:
        """Return the feature map, each position times the root of its weight."""
        return (features if weights is None else features * weights.sqrt(),)
