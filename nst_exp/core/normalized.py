"""Networks rescaled so that every channel's mean activation is 1.

Gatys, Ecker and Bethge, CVPR 2016, section 2: "We normalized the network by scaling the weights
such that the mean activation of each convolutional filter over images and positions is equal to
one." Every feature map is the old one divided by a number per channel, the channel's scale; the
output does not change, because the network has only ReLUs and no normalization over feature maps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, fx, nn

from nst_exp.config import layer_names
from nst_exp.core.encoder import Encoder
from nst_exp.core.pooling import L2Pool, ScaledPool
from nst_exp.utils.errors import ConfigError, WeightsError

FLOOR = 0.1
"""Least scale of a channel, as a share of its layer's mean activation.

A channel that is hardly ever active would be divided by almost 0. The gain, times that of the
layers after it, has driven L-BFGS into NaN."""

# f(c x) = c f(x) for every c > 0, on each channel by itself.
_HOMOGENEOUS = (nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, ScaledPool, L2Pool)


def normalize_encoder(encoder: Encoder, name: str, images: Iterable[Tensor]) -> dict[str, Tensor]:
    """Rescale the convolutions of an encoder in place.

    Args:
        encoder: Encoder to rescale.
        name: Its architecture.
        images: Images (1, 3, H, W), RGB in 0..1, to measure the mean activations on.

    Returns:
        {layer: (N,)} of each convolution: the mean activations of its channels before, float64.

    Raises:
        ConfigError: If the network is not a chain of convolutions, ReLUs and pooling.
        WeightsError: If its activations are not finite.
    """
    chain = find_chain(encoder, name)
    means = mean_activations(encoder, chain, images)
    for node, found in means.items():
        if not torch.isfinite(found).all():
            raise WeightsError(
                f"backbone.normalized=true: the activations of {name}'s {node} are not finite; "
                "check the weights and backbone.input"
            )
    rescale(chain, {node: scales(found) for node, found in means.items()})
    layers = {node: layer for layer, node in layer_names.aliases(name).items()}
    return {layers.get(node, node): found for node, found in means.items()}


def find_chain(encoder: Encoder, name: str) -> dict[str, nn.Module]:
    """Return the modules of a network by their node, in order.

    Raises:
        ConfigError: If the network is not a single chain of convolutions, ReLUs and pooling; the
            message names what else it has.
    """
    trunk = cast(fx.GraphModule, encoder.trunk)
    found: dict[str, nn.Module] = {}
    others: list[str] = []
    previous: fx.Node | None = None
    for node in trunk.graph.nodes:
        if node.op == "output":
            break
        if previous is not None:  # the first node is the image
            target = str(node.target)
            module = trunk.get_submodule(target) if node.op == "call_module" else None
            if node.all_input_nodes != [previous]:
                others.append("branches")
            convolution = isinstance(module, nn.Conv2d) and module.groups == 1
            if module is not None and (convolution or isinstance(module, _HOMOGENEOUS)):
                found[target] = module
            else:
                function = getattr(node.target, "__name__", target)
                others.append(type(module).__name__ if module is not None else function)
        previous = node
    if others:
        raise ConfigError(
            "backbone.normalized=true: needs a chain of convolutions, ReLUs and pooling, such as "
            f"vgg16, vgg19 or alexnet; {name} has {', '.join(dict.fromkeys(others))}"
        )
    return found


@torch.no_grad()
def mean_activations(
    encoder: Encoder, chain: Mapping[str, nn.Module], images: Iterable[Tensor]
) -> dict[str, Tensor]:
    """Measure each convolution's mean activation after the ReLU, over images and positions.

    Returns:
        {node: (N,)}, float64.
    """
    sums: dict[str, Tensor] = {}
    positions = dict.fromkeys(chain, 0)
    for image in images:
        x = encoder.preprocessing(image.to(encoder.preprocessing.mean))
        x = x.contiguous(memory_format=encoder.memory_format)
        for node, module in chain.items():
            x = module(x)
            if isinstance(module, nn.Conv2d):
                total = x.relu().sum((0, 2, 3), dtype=torch.float64)
                sums[node] = sums[node] + total if node in sums else total
                positions[node] += x[:, 0].numel()
    return {node: total / positions[node] for node, total in sums.items()}


def scales(means: Tensor) -> Tensor:
    """Bound the mean activations (N,) of a layer from below: what its channels are divided by.

    A layer whose activations are all 0 keeps its scale.
    """
    average = means.mean()
    if average <= 0:
        return torch.ones_like(means)
    return means.clamp(min=float(FLOOR * average))


def count_bounded(means: Tensor) -> int:
    """Count the channels of a layer whose mean is below the floor."""
    return int((scales(means) != means).sum())


@torch.no_grad()
def rescale(chain: Mapping[str, nn.Module], by: Mapping[str, Tensor]) -> None:
    """Divide every convolution's channels by ``by[node]``, (N,) each, and undo it in the next."""
    before = torch.ones((), dtype=torch.float64)
    for node, module in chain.items():
        if not isinstance(module, nn.Conv2d):
            continue
        own = by[node].double()
        # New tensors: the old ones may be shared with the state dict that they came from.
        weight = module.weight.double() * before.view(1, -1, 1, 1) / own.view(-1, 1, 1, 1)
        module.weight = nn.Parameter(weight.to(module.weight), requires_grad=False)
        if module.bias is not None:
            bias = module.bias.double() / own
            module.bias = nn.Parameter(bias.to(module.bias), requires_grad=False)
        before = own
