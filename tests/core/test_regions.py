"""Weights of regions at the positions of layers."""

import numpy as np
import pytest
import torch

from nst_exp.config.schema import RegionBorder
from nst_exp.core.receptive_field import ReceptiveField
from nst_exp.core.regions import layer_masks


def test_the_area_of_each_cell() -> None:
    """simple: a layer's cell has the share that the region takes of it."""
    labels = np.zeros((8, 6), dtype=np.int64)
    labels[3:] = 1
    masks = layer_masks(labels, 2, {"l": (2, 3)}, {}, RegionBorder.simple)
    assert masks[0]["l"].shape == (1, 1, 2, 3)
    assert masks[0]["l"][0, 0, :, 0].tolist() == [0.75, 0.0]
    torch.testing.assert_close(masks[0]["l"] + masks[1]["l"], torch.ones(1, 1, 2, 3))


@pytest.mark.parametrize("size", [(16, 24), (17, 23)])
def test_what_a_position_sees(size: tuple[int, int]) -> None:
    """inside and all, against a loop over the pixels of each receptive field."""
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 2, (3, 4)), np.ones((6, 6), int))[: size[0], : size[1]]
    field, shape = ReceptiveField(6, 2, -2), (size[0] // 2, size[1] // 2)
    inside, seen = (
        layer_masks(labels, 2, {"l": shape}, {"l": field}, border)[1]["l"][0, 0]
        for border in (RegionBorder.inside, RegionBorder.all)
    )
    for y in range(shape[0]):
        for x in range(shape[1]):
            rows, columns = (slice(max(0, 2 * i - 2), 2 * i + 4) for i in (y, x))
            part = labels[rows, columns]
            assert inside[y, x] == float((part == 1).all()), (y, x)
            assert seen[y, x] == float((part == 1).any()), (y, x)
