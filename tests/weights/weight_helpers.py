"""Helpers of the tests of weights: random trunks."""

import torch
from torch import Tensor

from nst_exp.weights.architecture import trunk

NAME = "squeezenet1_1"  # 2.9 MB without its classifier


def random_state(name: str) -> dict[str, Tensor]:
    """Draw the weights of a trunk."""
    generator = torch.Generator().manual_seed(0)
    return {
        key: torch.rand(like.shape, generator=generator)
        if like.is_floating_point()
        else torch.zeros(like.shape, dtype=like.dtype)
        for key, like in trunk(name).items()
    }


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
