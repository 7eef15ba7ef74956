"""Networks rescaled so that every channel's mean activation is 1.

Gatys, Ecker and Bethge, CVPR 2016, section 2: "We normalized the network by scaling the weights
such that the mean activation of each convolutional filter over images and positions is equal to
one." Every feature map is the old one divided by a number per channel, the channel's scale; the
output does not change, because the network has only ReLUs and no normalization over feature maps.
"""

import itertools
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
        name: Architecture of the encoder.
        images: Images (1, 3, H, W), RGB in 0..1, to measure the mean activations on.

    Returns:
        {layer: (N,)} of each convolution: the mean activations of its channels before, float64.

    Raises:
        ConfigError: If the network is not a chain of convolutions, ReLUs and pooling.
        WeightsError: If its activations are not finite.
    """
    chain = find_chain(encoder, name)
    means = _mean_activations(encoder, chain, images)
    for node, found in means.items():
        if not torch.isfinite(found).all():
            raise WeightsError(
                f"backbone.normalized=true: the activations of {name}'s {node} are not finite; "
                "check the weights and backbone.input"
            )
    _rescale(chain, {node: scales(found) for node, found in means.items()})
    layers = {node: layer for layer, node in layer_names.aliases(name).items()}
    return {layers.get(node, node): found for node, found in means.items()}


def find_chain(encoder: Encoder, name: str) -> dict[str, nn.Module]:
    """Return the modules of a network by their node, in order, if it is a chain."""
    trunk = cast(fx.GraphModule, encoder.trunk)
    found: dict[str, nn.Module] = {}
    others: list[str] = []
    # The first node is the image, and the last one returns the maps.
    for previous, node in itertools.pairwise(list(trunk.graph.nodes)[:-1]):
        if node.all_input_nodes != [previous]:
            others.append("branches")
        if node.op != "call_module":
            others.append(getattr(node.target, "__name__", str(node.target)))
            continue
        module = trunk.get_submodule(node.target)
        convolution = isinstance(module, nn.Conv2d) and module.groups == 1
        if convolution or isinstance(module, _HOMOGENEOUS):
            found[node.target] = module
        else:
            others.append(type(module).__name__)
    if others:
        raise ConfigError(
            "backbone.normalized=true: needs a chain of convolutions, ReLUs and pooling, such as "
            f"vgg16, vgg19 or alexnet; {name} has {', '.join(dict.fromkeys(others))}"
        )
    return found


@torch.no_grad()
def _mean_activations(
    encoder: Encoder, chain: Mapping[str, nn.Module], images: Iterable[Tensor]
) -> dict[str, Tensor]:
    """Average each convolution's activations after the ReLU, over images and positions."""
    sums: dict[str, Tensor] = {}
    positions = dict.fromkeys(chain, 0)
    for image in images:
        x = encoder.preprocessing(image.to(encoder.preprocessing.mean))
        x = x.contiguous(memory_format=encoder.memory_format)
        for node, module in chain.items():
            x = module(x)
            if isinstance(module, nn.Conv2d):
                total = x.relu().sum((0, 2, 3), dtype=torch.float64)
                sums[node] = sums.get(node, 0.0) + total
                positions[node] += x[:, 0].numel()
    return {node: total / positions[node] for node, total in sums.items()}


def scales(means: Tensor) -> Tensor:
    """Bound the mean activations (N,) of a layer from below: what its channels are divided by.

    A layer whose activations are all 0 keeps its scale.
    """
    bounded = means.clamp(min=float(FLOOR * means.mean()))
    return torch.where(bounded > 0, bounded, 1.0)


def count_bounded(means: Tensor) -> int:
    """Count the channels of a layer whose mean is below the floor."""
    return int((scales(means) != means).sum())


@torch.no_grad()
def _rescale(chain: Mapping[str, nn.Module], by: Mapping[str, Tensor]) -> None:
    """Divide every convolution's channels by ``by[node]``, and undo it in the next."""
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
