"""Nearest neighbors among vectors, in chunks that bound the memory."""

from collections.abc import Callable

import torch
from torch import Tensor

LARGEST = 2**24  # entries of a matrix of distances: 64 MB in float32

Distances = Callable[[Tensor, Tensor], Tensor]
"""From vectors (m, N) and (M, N) to the distances of all pairs, (m, M)."""


@torch.no_grad()
def nearest(vectors: Tensor, others: Tensor, distances: Distances) -> tuple[Tensor, Tensor]:
    """Find the nearest neighbor of each vector among the others, and the reverse.

    Args:
        vectors: Shape (m, N).
        others: Shape (M, N).
        distances: Of all pairs; smaller is nearer.

    Returns:
        For each vector the index of another, (m,), and for each of those the index of a vector,
        (M,).
    """
    of_vectors = []
    best = vectors.new_full((len(others),), torch.inf)
    of_others = torch.zeros(len(others), dtype=torch.long, device=vectors.device)
    rows = max(1, LARGEST // len(others))
    for start in range(0, len(vectors), rows):
        found = distances(vectors[start : start + rows], others)
        of_vectors.append(found.argmin(dim=1))
        lowest, index = found.min(dim=0)
        of_others = torch.where(lowest < best, index + start, of_others)
        best = torch.minimum(lowest, best)
    return torch.cat(of_vectors), of_others


def unit(vectors: Tensor) -> Tensor:
    """Divide each row (M, N) by its length; rows of zeros stay, and have the gradient 0."""
    squares = vectors.square().sum(dim=1, keepdim=True)
    alive = squares > torch.finfo(squares.dtype).tiny
    return torch.where(alive, vectors, 0.0) * torch.where(alive, squares, 1.0).rsqrt()


def cosine_distances(vectors: Tensor, others: Tensor) -> Tensor:
    """Compute the cosine distances of all pairs of unit vectors."""
    return 1.0 - vectors @ others.T
