"""Maps that a term makes of the network's: pairs of layers, and hypercolumns."""

import math

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from nst_exp.config import schema
from nst_exp.config.loss_layers import HYPERCOLUMN, RGB, compared_layers
from nst_exp.core.targets import Features


def read_maps(features: Features, settings: schema.ContentLoss | schema.StyleLoss) -> Features:
    """Return the maps (1, N, h, w) that a term compares, by the names that it uses."""
    return {layer: read_map(features, settings, layer) for layer in compared_layers(settings)}


def read_map(
    features: Features, settings: schema.ContentLoss | schema.StyleLoss, layer: str
) -> Tensor:
    """Return a map (1, N, h, w) that a term compares.

    Of a pair "relu1_1:relu2_1" the second map is enlarged to the first one's grid (nearest) and
    appended to its channels. Of hypercolumns each layer's map, times the layer's weight, is resized
    bilinearly to 1/k of the image's size, or less reduced to keep a number of positions, and all
    are joined.
    """
    if layer == HYPERCOLUMN:
        size = _joined_size(features[RGB], settings)
        weights = settings.weights or [1.0] * len(settings.layers)
        parts = [
            interpolate(features[name] * weight, size=size, mode="bilinear", align_corners=False)
            for name, weight in zip(settings.layers, weights, strict=True)
        ]
        return torch.cat(parts, dim=1)
    first, *second = (features[name] for name in layer.split(":"))
    larger = [interpolate(values, size=first.shape[2:]) for values in second]
    return torch.cat([first, *larger], dim=1) if larger else first


def read_masks(masks: Features, settings: schema.ContentLoss | schema.StyleLoss) -> Features:
    """Return the weights (1, 1, h, w) of the positions of the maps that ``read_maps`` returns."""
    if settings.hypercolumn:
        return {HYPERCOLUMN: adaptive_avg_pool2d(masks[RGB], _joined_size(masks[RGB], settings))}
    return {layer: masks[layer.split(":")[0]] for layer in settings.layers}


def _joined_size(image: Tensor, settings: schema.ContentLoss | schema.StyleLoss) -> tuple[int, int]:
    """Return height and width of the map of hypercolumns of an image (1, C, H, W)."""
    height, width = image.shape[2:]
    divisor = min(settings.hypercolumn, math.sqrt(height * width / settings.positions))
    divisor = max(1.0, divisor)
    return max(1, int(height / divisor)), max(1, int(width / divisor))
