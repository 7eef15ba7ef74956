"""Names and shapes of torchvision's tensors, without the classifier."""

from functools import lru_cache

from torch import Tensor, nn

from nst_exp.core.encoder import new_model

# What torchvision's architectures call the classifier and the auxiliary classifiers. Style transfer
# does not use them, and they are most of the bytes.
_HEADS = ("classifier.", "fc.", "head", "aux1.", "aux2.", "AuxLogits.")


def is_head(key: str) -> bool:
    """Tell whether a tensor with torchvision's name ``key`` belongs to a classifier."""
    return key.startswith(_HEADS)


@lru_cache
def build_empty(name: str) -> nn.Module:
    """Build torchvision's classifier ``name`` on the meta device: names and shapes, no memory.

    Raises:
        ConfigError: If torchvision has no classifier of that name.
    """
    return new_model(name, "meta")


def trunk(name: str) -> dict[str, Tensor]:
    """Return the state dict of ``name`` without the classifier, for its shapes."""
    return {key: value for key, value in build_empty(name).state_dict().items() if not is_head(key)}


def convolutions(name: str) -> dict[str, tuple[int, ...]]:
    """Return the module path and the weight's shape of each convolution, in torchvision's order."""
    return {
        path: tuple(module.weight.shape)
        for path, module in build_empty(name).named_modules()
        if isinstance(module, nn.Conv2d)
    }
