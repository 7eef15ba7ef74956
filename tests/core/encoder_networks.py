"""Encoders with random weights, and plain forward passes to compare them with."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from nst_exp.config import layer_names
from nst_exp.config.schema import Backbone
from nst_exp.core.encoder import (
    Encoder,
    build_encoder,
)

MakeImage = Callable[..., Tensor]
ARCHITECTURES = [
    *(f"{name}{suffix}" for name in layer_names.VGG_BLOCKS for suffix in ("", "_bn")),
    *layer_names.RESNET_BLOCKS,
    "squeezenet1_1",
    "alexnet",
]


def plain(name: str) -> nn.Module:
    """torchvision's network without its classifier, with ReLUs that overwrite nothing."""
    with torch.device("meta"):
        model = models.get_model(name, weights=None)
    for head in ("classifier", "avgpool", "fc"):
        if hasattr(model, head):
            setattr(model, head, nn.Identity())
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return model.eval()


def random_weights(name: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    weights: dict[str, Tensor] = {}
    for key, like in plain(name).state_dict().items():
        value = torch.randn(like.shape, generator=generator)
        if like.dim() == 4:
            value *= (2.0 / like[0].numel()) ** 0.5
        elif key.endswith(("running_var", "weight")):
            value = 0.5 + torch.rand(like.shape, generator=generator)
        elif key.endswith("num_batches_tracked"):
            value = torch.tensor(0)
        else:
            value *= 0.1
        weights[key] = value
    return weights


def build(name: str, layers: list[str], channels_last: bool = True, **settings: Any) -> Encoder:
    backbone = Backbone(name=name, **settings)
    return build_encoder(backbone, layers, random_weights(name), channels_last=channels_last)


def maps_of(image: Tensor, name: str, layers: list[str], **settings: Any) -> dict[str, Tensor]:
    with torch.no_grad():
        maps: dict[str, Tensor] = build(name, layers, **settings)(image)
    return maps


def normalized(image: Tensor) -> Tensor:
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    return (image - mean) / std


def reference(
    name: str,
    image: Tensor,
    modules: Mapping[str, str],
    change: Callable[[nn.Module], nn.Module] = lambda model: model,
) -> dict[str, Tensor]:
    """{layer: output of its module} of a plain forward pass, of a network that is changed first."""
    model = plain(name)
    model.load_state_dict(random_weights(name), assign=True)
    model = change(model)
    maps: dict[str, Tensor] = {}

    def keep(layer: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda _module, _input, output: maps.update({layer: output.clone()})

    for layer, path in modules.items():
        model.get_submodule(path).register_forward_hook(keep(layer))
    with torch.no_grad():
        model(normalized(image))
    return maps


VGG_LAYERS = ["conv1_1", "relu1_1", "pool1", "conv3_1", "relu3_1", "conv5_2", "relu5_2", "pool5"]


def vgg(name: str, *more: str) -> dict[str, str]:
    return {layer: layer_names.aliases(name)[layer] for layer in [*VGG_LAYERS, *more]}


CASES: dict[str, dict[str, str]] = {
    "vgg11": vgg("vgg11"),
    "vgg16": vgg("vgg16"),
    "vgg11_bn": vgg("vgg11_bn", "bn1_1", "bn4_1"),
    "alexnet": layer_names.aliases("alexnet"),
    "squeezenet1_1": {"conv1": "features.0", "relu1": "features.1", "pool3": "features.5"}
    | {"fire2": "features.3", "fire5": "features.7", "fire9": "features.12"},
    "resnet18": {"conv1": "conv1", "bn1": "bn1", "relu1": "relu", "pool1": "maxpool"}
    | {"layer1_1": "layer1.0", "layer2": "layer2", "out_5": "layer4"}
    # Before the residual sum and the in-place ReLUs within a block:
    | {"layer1.0.bn1": "layer1.0.bn1", "layer3.1.bn2": "layer3.1.bn2"},
    # Any classifier works by node names:
    "densenet121": {
        name: name
        for name in ("features.denseblock1.denselayer2.norm1", "features.transition1.pool")
    },
}
