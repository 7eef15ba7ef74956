"""Self-similarity: which positions of an image resemble each other."""

import torch
from torch import Tensor

from nst_exp.core.statistics.interface import PositionStatistic, Summary
from nst_exp.core.statistics.matching import cosine_distances, unit
from nst_exp.core.statistics.random_choices import choose


class SelfSimilarity(PositionStatistic):
    """The cosine distances of all pairs of at most ``samples`` random positions of an image.

    Kolkin, Salavon and Shakhnarovich 2019 (STROTSS): the columns of both matrices D, of the
    image and of the content, are divided by their sums; the distance is the sum of the absolute
    differences over the number of positions. It is about relations, so it does not ask for the
    content's colors and textures.
    """

    normalized = True

    def __init__(self, samples: int, seed: int, redraw: int) -> None:
        self.samples, self.seed, self.redraw = samples, seed, redraw

    def prepare_target(self, summary: Summary) -> Summary:
        """Compute the matrix of the target."""
        return (self._matrix(summary),)

    def distance(self, summary: Summary, target: Summary) -> Tensor:
        """Measure the distance to a prepared target."""
        matrix = self._matrix(summary)
        return (matrix - target[0]).abs().sum() / len(matrix)

    def _matrix(self, summary: Summary) -> Tensor:
        vectors = unit(choose(summary[0], self.samples, self.seed, self.draw, "positions"))
        distances = cosine_distances(vectors, vectors)
        sums = distances.sum(dim=0)
        return distances / sums.clamp(min=torch.finfo(sums.dtype).eps)
