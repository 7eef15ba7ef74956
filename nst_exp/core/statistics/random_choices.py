"""Random choices of statistics: they follow from the seed and the number of the draw alone."""

import random

import torch
from torch import Tensor


def generator(seed: int, draw: int, name: str) -> torch.Generator:
    """Return a generator on the CPU whose numbers differ between seeds, draws and names."""
    # torch's CPU generator uses 32 bits of its seed.
    mixed = random.Random(f"{name} {seed} {draw}").getrandbits(32)
    return torch.Generator().manual_seed(mixed)


def choose(vectors: Tensor, count: int, seed: int, draw: int, name: str) -> Tensor:
    """Return ``count`` of the rows (M, N) in random order, or all of them if there are fewer."""
    if len(vectors) <= count:
        return vectors
    order = torch.randperm(len(vectors), generator=generator(seed, draw, name))
    return vectors[order[:count].to(vectors.device)]
