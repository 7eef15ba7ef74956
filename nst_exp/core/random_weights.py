"""Random weights for tests and for studies of untrained networks."""

import copy

import torch
from torch import nn

from nst_exp.config.schema import InputConvention
from nst_exp.core.preprocessing import IMAGENET_STD


@torch.no_grad()
def draw_weights(trunk: nn.Module, convention: InputConvention, seed: int) -> None:
    """Draw weights under which activations keep their size from layer to layer.

    Convolutions after He et al. 2015 (fan in). BatchNorm measures its statistics on noise, which
    also keeps the sums of residual networks from growing much.
    """
    generator = torch.Generator().manual_seed(seed)
    convolutions = [m for m in trunk.modules() if isinstance(m, nn.Conv2d)]
    for module in convolutions:
        fan_in = module.weight[0].numel()
        module.weight.normal_(0.0, (2.0 / fan_in) ** 0.5, generator=generator)
        if module.bias is not None:
            module.bias.zero_()
    spread = 1.0 if convention is InputConvention.imagenet else 255.0 * sum(IMAGENET_STD) / 3
    if convolutions:
        convolutions[0].weight.div_(spread)
    norms = [m for m in trunk.modules() if isinstance(m, nn.BatchNorm2d)]
    if not norms:
        return
    # Coarse and fine: on fine noise alone all positions look the same to the deep layers, whose
    # variance would be measured far too small for images.
    pixels = _noise_side(trunk)
    noise = torch.randn(8, 3, pixels, pixels, generator=generator)
    for side in (1, 4, 16):
        coarse = torch.randn(8, 3, side, side, generator=generator)
        noise += nn.functional.interpolate(coarse, size=(pixels, pixels))
    for norm in norms:
        norm.train()
        norm.momentum = None  # a plain average, of this one batch
        norm.reset_running_stats()
    trunk(noise * (spread / 2))
    for norm in norms:
        norm.eval()


def _noise_side(trunk: nn.Module) -> int:
    """Return 64 pixels, or the 224 of ImageNet for a network that needs more."""
    try:
        copy.deepcopy(trunk).to("meta")(torch.empty(8, 3, 64, 64, device="meta"))
    except RuntimeError:
        return 224
    return 64
