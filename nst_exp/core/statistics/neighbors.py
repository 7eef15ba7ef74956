"""Nearest neighbors among the patches of the target: Markov random fields, neural neighbors."""

from torch import Tensor
from torch.nn.functional import unfold

from nst_exp.config.schema import Metric
from nst_exp.core.statistics.interface import PositionStatistic, Summary
from nst_exp.core.statistics.matching import cosine_distances, nearest, unit
from nst_exp.utils.errors import ConfigError


class Neighbors(PositionStatistic):
    """The distance of each patch to its nearest neighbor among the patches of the target.

    correlation: the neighbor has the largest normalized correlation, the distance is the squared
    difference to it (Li and Wand 2016, "Combining Markov Random Fields and Convolutional Neural
    Networks for Image Synthesis"). cosine: both are the cosine distance after the
    mean of each set is subtracted (Kolkin et al. 2022, "Neural Neighbor Style Transfer").

    The neighbors are those of the image, or of the content image if ``frozen``. M is the number of
    patches.
    """

    def __init__(self, patch: int, stride: int, metric: Metric, frozen: bool) -> None:
        """Compare patches of ``patch`` x ``patch`` positions that lie ``stride`` apart."""
        self.patch, self.stride, self.frozen = patch, stride, frozen
        self.normalized = metric is Metric.cosine
        self.copies = (6.0 if self.normalized else 2.0) * (patch / stride) ** 2
        self.jumps = not frozen and not self.normalized

    def vectors(self, features: Tensor) -> Tensor:
        """Return the patches of a map, one row each.

        Raises:
            ConfigError: If the map is smaller than a patch.
        """
        if min(features.shape[2:]) < self.patch:
            height, width = features.shape[2:]
            raise ConfigError(
                f"patch={self.patch}: a feature map is only {width}x{height}; use a "
                "smaller patch, an earlier layer or a larger size"
            )
        if self.patch == 1:
            return super().vectors(features[..., :: self.stride, :: self.stride])
        return unfold(features, self.patch, stride=self.stride)[0].T

    def prepare_target(self, summary: Summary) -> Summary:
        """Prepare the patches (M, N) of the target."""
        (patches,) = summary
        return (unit(patches - patches.mean(dim=0)) if self.normalized else patches,)

    def freeze(self, target: Summary, content: Summary) -> Summary:
        """Replace the target by the neighbors of the content image's patches, in their order."""
        return self._nearest(target, content) if self.frozen else target

    def match(self, target: Summary, summary: Summary) -> Summary:
        """Choose the neighbor of each patch, unless they are frozen."""
        return target if self.frozen else self._nearest(target, summary)

    def distance(self, summary: Summary, target: Summary) -> Tensor:
        """Measure the mean distance to the neighbors."""
        (patches,), (neighbors,) = self.prepare_target(summary), target
        if self.normalized:
            return 1.0 - (patches * neighbors).sum(dim=1).mean()
        return (patches - neighbors).square().sum(dim=1).mean()

    def size(self, target: Summary) -> Tensor:
        """Measure a prepared target."""
        return target[0].square().sum(dim=1).mean()

    def extent(self, features: Tensor) -> tuple[float, float]:
        """Return N and the number of patches."""
        height, width = ((side - self.patch) // self.stride + 1 for side in features.shape[2:])
        return features.shape[1], height * width

    def _nearest(self, target: Summary, summary: Summary) -> Summary:
        (patches,), (candidates,) = self.prepare_target(summary), target
        # The length of a patch itself does not change which candidate is nearest.
        directions = candidates if self.normalized else unit(candidates)
        return (candidates[nearest(patches.detach(), directions, cosine_distances)[0]],)
