"""The relaxed earth mover's distance of STROTSS, and its distance of colors."""

import torch
from torch import Tensor

from nst_exp.core.statistics.interface import PositionStatistic, Summary
from nst_exp.core.statistics.matching import cosine_distances, nearest, unit
from nst_exp.core.statistics.random_choices import choose

# From RGB to a space whose axes vary almost independently; STROTSS.
DECORRELATION = (
    (0.577350, 0.577350, 0.577350),
    (-0.577350, 0.788675, -0.211325),
    (-0.577350, -0.211325, 0.788675),
)
# Least squared distance of two colors, so that its root has a finite gradient; STROTSS.
LEAST_SQUARE = 1e-5


class RelaxedEMD(PositionStatistic):
    """The larger of two means: of each set's distances to their nearest neighbors in the other.

    Kolkin, Salavon and Shakhnarovich 2019, "Style Transfer by Relaxed Optimal Transport and
    Self-Similarity", with the cosine distance, over at most ``samples`` random
    positions of each image.
    """

    normalized = True

    def __init__(self, samples: int, seed: int, redraw: int) -> None:
        self.samples, self.seed, self.redraw = samples, seed, redraw

    def prepare_target(self, summary: Summary) -> Summary:
        """Choose positions of the target: (at most samples, N)."""
        chosen = choose(summary[0], self.samples, self.seed, self.draw, "positions of the target")
        return (self.comparable(chosen),)

    def distance(self, summary: Summary, target: Summary) -> Tensor:
        """Measure the distance to a prepared target."""
        chosen = choose(summary[0], self.samples, self.seed, self.draw, "positions")
        vectors, (others,) = self.comparable(chosen), target
        of_vectors, of_others = nearest(vectors.detach(), others, self.distances)
        return torch.maximum(
            self.pairs(vectors, others[of_vectors]).mean(),
            self.pairs(vectors[of_others], others).mean(),
        )

    def comparable(self, vectors: Tensor) -> Tensor:
        """Convert rows (M, N) to what the distances are made of."""
        return unit(vectors)

    def distances(self, vectors: Tensor, others: Tensor) -> Tensor:
        """Compute the distances of all pairs."""
        return cosine_distances(vectors, others)

    def pairs(self, vectors: Tensor, others: Tensor) -> Tensor:
        """Compute the distances of the rows of both, one by one."""
        return 1.0 - (vectors * others).sum(dim=1)


class Palette(RelaxedEMD):
    """The relaxed EMD of colors: cosine plus root mean square distance, decorrelated (STROTSS).

    For the layer rgb; 0.5 is subtracted first.
    """

    def comparable(self, vectors: Tensor) -> Tensor:
        """Convert colors (M, 3) to unit vectors and coordinates, (M, 6)."""
        colors = (vectors - 0.5) @ vectors.new_tensor(DECORRELATION).T
        return torch.cat([unit(colors), colors], dim=1)

    def distances(self, vectors: Tensor, others: Tensor) -> Tensor:
        """Compute the distances of all pairs."""
        squares = torch.cdist(vectors[:, 3:], others[:, 3:]).square()
        return cosine_distances(vectors[:, :3], others[:, :3]) + _root_mean(squares)

    def pairs(self, vectors: Tensor, others: Tensor) -> Tensor:
        """Compute the distances of the rows of both, one by one."""
        squares = (vectors[:, 3:] - others[:, 3:]).square().sum(dim=1)
        return super().pairs(vectors[:, :3], others[:, :3]) + _root_mean(squares)


def _root_mean(squares: Tensor) -> Tensor:
    return (squares.clamp(min=LEAST_SQUARE) / 3.0).sqrt()
