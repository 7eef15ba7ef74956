"""How much the positions of feature maps belong to regions of the image."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d, pad

from nst_exp.config.schema import RegionBorder
from nst_exp.core.receptive_field import ReceptiveField


def layer_masks(
    labels: NDArray[np.int64],
    regions: int,
    sizes: Mapping[str, tuple[int, int]],
    fields: Mapping[str, ReceptiveField],
    border: RegionBorder,
) -> list[dict[str, Tensor]]:
    """Compute how much each position of a layer belongs to each region, 0..1.

    simple: the area that the region takes of the position's cell. inside: 1 if the position sees
    the region alone; all: 1 if it sees any of it (Gatys et al. 2017, section 4).

    Args:
        labels: The index of each pixel's region, (H, W), at the size of the image that the
            layers belong to.
        regions: Number of regions.
        sizes: Height and width of each layer's map.
        fields: Receptive field of each layer.
        border: What happens to positions that see several regions.

    Returns:
        For each region, {layer: (1, 1, h, w)}, float32.
    """
    masks = torch.from_numpy(labels)[None] == torch.arange(regions)[:, None, None]
    areas = masks.float().unsqueeze(1)
    result: list[dict[str, Tensor]] = [{} for _ in range(regions)]
    for layer, (height, width) in sizes.items():
        if border is RegionBorder.simple:
            values = adaptive_avg_pool2d(areas, (height, width))
        elif border is RegionBorder.all:
            values = _seen(areas, fields[layer], height, width)
        else:
            values = 1.0 - _seen(1.0 - areas, fields[layer], height, width)
        for index in range(regions):
            result[index][layer] = values[index : index + 1]
    return result


def _seen(areas: Tensor, field: ReceptiveField, height: int, width: int) -> Tensor:
    """Compute the maximum over each position's receptive field; the padding counts as 0."""
    for axis, count in ((2, height), (3, width)):
        missing = (count - 1) * field.stride + field.size + field.start - areas.shape[axis]
        ends = (-field.start, missing)
        areas = pad(areas, (0, 0, *ends) if axis == 2 else (*ends, 0, 0))
        window = (field.size, 1) if axis == 2 else (1, field.size)
        stride = (field.stride, 1) if axis == 2 else (1, field.stride)
        areas = max_pool2d(areas, window, stride)
    return areas
