"""What torchvision calls the tensors of an architecture, and what shapes they have."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torchvision import models

from nst_exp.utils.errors import ConfigError
from nst_exp.utils.suggest import did_you_mean

# The classifier and the auxiliary classifiers: most of the bytes, and never used for style
# transfer. torchvision's architectures call them by these names and nothing else so.
_HEADS = ("classifier.", "fc.", "head", "aux1.", "aux2.", "AuxLogits.")


def is_head(key: str) -> bool:
    """Whether a tensor of torchvision's name ``key`` belongs to a classifier."""
    return key.startswith(_HEADS)


@cache
def build_empty(name: str) -> nn.Module:
    """Return the classifier ``name`` on the meta device: names and shapes without memory.

    Raises ``ConfigError`` for a name that torchvision does not have.
    """
    known = models.list_models(module=models)
    if name not in known:
        raise ConfigError(
            f"backbone.name={name}: torchvision has no classifier of that name"
            + did_you_mean(name, known)
        )
    # Without the option these two warn about their slow initialization.
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    try:
        with torch.device("meta"):
            module: nn.Module = models.get_model(name, weights=None, **options)
    except NotImplementedError:  # the RegNets compute their widths with tensors while being built
        module = models.get_model(name, weights=None, **options)
    return module


def trunk(name: str) -> dict[str, Tensor]:
    """Return the state dict of ``name`` without the classifier; the values only have shapes."""
    return {key: value for key, value in build_empty(name).state_dict().items() if not is_head(key)}


def convolutions(name: str) -> dict[str, tuple[int, ...]]:
    """Each convolution's module path and weight shape (O, I, kh, kw), in torchvision's order."""
    return {
        path: tuple(module.weight.shape)
        for path, module in build_empty(name).named_modules()
        if isinstance(module, nn.Conv2d)
    }


def paper_names(name: str) -> dict[str, str]:
    """``conv1_1`` -> ``features.0`` and so on for the VGGs; empty for any other architecture."""
    module = build_empty(name)
    if not isinstance(module, models.VGG):
        return {}
    names = {}
    block, index = 1, 0
    for position, layer in enumerate(module.features):
        if isinstance(layer, nn.Conv2d):
            index += 1
            names[f"conv{block}_{index}"] = f"features.{position}"
        elif isinstance(layer, nn.MaxPool2d):
            block, index = block + 1, 0
    return names
