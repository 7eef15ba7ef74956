"""The image that the optimization starts from."""

import math

import torch
from torch import Tensor

from nst_exp.config.schema import Init, InitKind, NoiseKind
from nst_exp.core.parametrization import finest_band


def noise(settings: Init, height: int, width: int, seed: int) -> Tensor:
    """Draw noise around ``noise_mean``, (1, 3, height, width), on the CPU for every device."""
    generator = torch.Generator().manual_seed(seed)
    shape = (1, 3, height, width)
    if settings.noise is NoiseKind.normal:
        unit = torch.randn(shape, generator=generator)
    else:  # uniform with standard deviation 1
        unit = (torch.rand(shape, generator=generator) * 2.0 - 1.0) * math.sqrt(3.0)
    mean = torch.tensor(settings.noise_mean).view(1, -1, 1, 1)  # one value, or R, G, B
    return mean + settings.noise_scale * unit


def starting_image(settings: Init, content: Tensor, other: Tensor | None, seed: int) -> Tensor:
    """Build the image that the optimization starts from, of the shape (1, 3, H, W) of ``content``.

    ``other`` is the image to start from for kind=style and kind=file, the style image for
    kind=details, None for the other kinds.
    """
    if settings.kind is InitKind.content:
        return content
    if settings.kind is InitKind.details and other is not None:
        return other.mean(dim=(2, 3), keepdim=True) + finest_band(content)
    if other is not None:
        return other
    drawn = noise(settings, content.shape[2], content.shape[3], seed)
    if settings.kind is InitKind.blend:
        return settings.noise_ratio * drawn + (1.0 - settings.noise_ratio) * content
    return drawn
