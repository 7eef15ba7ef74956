"""Feature maps of the content and the style image, and what to say where there are none."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from nst_exp.core.encoder import Encoder
from nst_exp.utils.errors import ConfigError


def feature_maps(backbone: Encoder, image: Tensor, key: str) -> dict[str, Tensor]:
    """The target's feature maps; ConfigError where the image is too small or a layer unsuited."""
    height, width = image.shape[2:]
    try:
        with torch.no_grad():
            maps: dict[str, Tensor] = backbone(image)
    except RuntimeError as error:
        least = least_size(backbone)
        if min(height, width) >= least:
            raise
        raise ConfigError(
            f"{key}: {width}x{height} pixels are too few for these layers, which need {least} on "
            f"the shorter side; raise size{' or resolution.style_size' * (key == 'style')}"
        ) from error
    for layer, values in maps.items():
        if values.dim() != 4:
            raise ConfigError(
                f"loss: layer '{layer}' gives {tuple(values.shape)}, not feature maps (1, N, H, W)"
            )
    return maps


def least_size(backbone: Encoder) -> int:
    """The smallest square image for which no feature map is empty, found without computing any."""
    shadow = copy.deepcopy(backbone).to("meta")

    def works(side: int) -> bool:
        try:
            with torch.no_grad():
                shadow(torch.empty(1, 3, side, side, device="meta"))
            return True
        except RuntimeError:
            return False

    return next((side for side in range(1, 1025) if works(side)), 1025)
