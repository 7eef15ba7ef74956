"""Style statistics: pure functions of one feature map."""

from __future__ import annotations

from torch import Tensor


def gram_matrix(features: Tensor) -> Tensor:
    """Gram matrix per position, F F^T / M, of a feature map (1, N, H, W) -> (N, N), M = H W.

    Gatys et al. 2016, Eq. 3, divided by M, so that images of different sizes can be compared.
    """
    _, channels, height, width = features.shape
    # (M, N) is a view, whether the map is stored channels first or channels last.
    rows = features[0].permute(1, 2, 0).reshape(height * width, channels)
    return rows.T @ rows / (height * width)
