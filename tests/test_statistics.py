"""The Gram matrix, against loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nst_exp.statistics import gram_matrix


def naive_gram(features: Tensor) -> Tensor:
    """Eq. 3 of the paper, divided by the number of positions, one product at a time."""
    _, channels, height, width = features.shape
    rows = features[0].reshape(channels, -1).tolist()
    gram = torch.zeros(channels, channels, dtype=torch.float64)
    for i in range(channels):
        for j in range(channels):
            for k in range(height * width):
                gram[i, j] += rows[i][k] * rows[j][k]
    return gram / (height * width)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (1, 5, 1, 1), (1, 1, 3, 2)])
def test_gram_matrix_is_the_triple_loop(
    shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    features = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gram = gram_matrix(features.contiguous(memory_format=layout))
    # Float64: only the order of at most 20 additions differs.
    torch.testing.assert_close(gram, naive_gram(features), rtol=1e-13, atol=1e-14)


def test_gram_matrix_does_not_care_where_a_feature_stands() -> None:
    features = torch.randn(1, 4, 6, 7, dtype=torch.float64)
    shuffled = features.flatten(2)[..., torch.randperm(42)].view_as(features)
    torch.testing.assert_close(gram_matrix(shuffled), gram_matrix(features), rtol=1e-12, atol=1e-13)


def test_gram_matrix_of_a_repeated_map_is_the_same() -> None:
    """Per position, so that pictures of different sizes can be compared."""
    features = torch.randn(1, 4, 6, 7, dtype=torch.float64)
    tiled = features.repeat(1, 1, 2, 3)
    torch.testing.assert_close(gram_matrix(tiled), gram_matrix(features), rtol=1e-12, atol=1e-13)


def test_gram_matrix_in_single_precision_keeps_five_digits_over_many_positions() -> None:
    features = torch.randn(1, 8, 256, 256, generator=torch.Generator().manual_seed(2)).relu()
    exact = gram_matrix(features.double())
    # 65,536 positive products: blocked sums lose a few units in the last of 7 digits.
    torch.testing.assert_close(gram_matrix(features).double(), exact, rtol=1e-5, atol=0.0)
