"""The names of layers: the papers' and the seeds' names -> torchvision's node names. No torch.

Torchvision's own node names (``features.21``, ``layer2.0.relu_1``) are accepted as well.
"""

from __future__ import annotations

import re

from nst_exp.utils.suggest import did_you_mean

# Convolutions per block, Simonyan and Zisserman 2015, table 1.
VGG_BLOCKS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
# Residual blocks per stage and convolutions per block, He et al. 2016, table 1.
RESNET_BLOCKS = {
    "resnet18": ((2, 2, 2, 2), 2),
    "resnet34": ((3, 4, 6, 3), 2),
    "resnet50": ((3, 4, 6, 3), 3),
    "resnet101": ((3, 4, 23, 3), 3),
    "resnet152": ((3, 8, 36, 3), 3),
}


def _vgg(name: str) -> dict[str, str]:
    blocks = VGG_BLOCKS[name.removesuffix("_bn")]
    kinds = ("conv", "bn", "relu") if name.endswith("_bn") else ("conv", "relu")
    names = [
        layer
        for block, convolutions in enumerate(blocks, start=1)
        for layer in [
            *(f"{kind}{block}_{k}" for k in range(1, convolutions + 1) for kind in kinds),
            f"pool{block}",
        ]
    ]
    return {layer: f"features.{index}" for index, layer in enumerate(names)}


def _resnet(name: str) -> dict[str, str]:
    stages, convolutions = RESNET_BLOCKS[name]
    table = {"conv1": "conv1", "bn1": "bn1", "relu1": "relu", "pool1": "maxpool"}
    for stage, blocks in enumerate(stages, start=1):
        for block in range(blocks):
            # A block ends in its last ReLU, which the graph numbers from the second on.
            table[f"layer{stage}_{block + 1}"] = f"layer{stage}.{block}.relu_{convolutions - 1}"
        table[f"layer{stage}"] = table[f"layer{stage}_{blocks}"]
    # out_0 ... out_5: the six outputs that the ResNet-50 style transfer posts count.
    outputs = ["conv1", "pool1", "layer1", "layer2", "layer3", "layer4"]
    return table | {f"out_{i}": table[layer] for i, layer in enumerate(outputs)}


def _squeezenet1_1() -> dict[str, str]:
    table = {"conv1": "features.0", "relu1": "features.1", "pool1": "features.2"}
    table |= {"pool3": "features.5", "pool5": "features.8"}
    fires = {2: 3, 3: 4, 4: 6, 5: 7, 6: 9, 7: 10, 8: 11, 9: 12}
    return table | {f"fire{number}": f"features.{i}.cat" for number, i in fires.items()}


def _alexnet() -> dict[str, str]:
    names = "conv1 relu1 pool1 conv2 relu2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5"
    return {layer: f"features.{index}" for index, layer in enumerate(names.split())}


def aliases(architecture: str) -> dict[str, str]:
    """Documented layer names of ``architecture`` -> node names; empty for other classifiers."""
    if architecture.removesuffix("_bn") in VGG_BLOCKS:
        return _vgg(architecture)
    if architecture in RESNET_BLOCKS:
        return _resnet(architecture)
    if architecture == "squeezenet1_1":
        return _squeezenet1_1()
    if architecture == "alexnet":
        return _alexnet()
    return {}


def problem(architecture: str, layer: str, key: str) -> str | None:
    """What is wrong with the layer's name, as far as can be told without torch; None if nothing."""
    table = aliases(architecture)
    if not table or layer in table or "." in layer or layer in table.values():
        return None  # node names are checked against the network itself when it is built
    names = ", ".join(name for name in table if not name.startswith("out_"))
    return (
        f"{key}: {architecture} has no layer '{layer}'{did_you_mean(layer, table)}\n"
        f"    its layers: {names} (or torchvision's node names)"
    )


def least_size(architecture: str, layer: str) -> int:
    """The smallest side in pixels for which the layer of a VGG is not empty; 1 for others."""
    if architecture.removesuffix("_bn") not in VGG_BLOCKS:
        return 1
    named = {node: name for name, node in aliases(architecture).items()}
    name = layer if layer in aliases(architecture) else named.get(layer, "")
    if name.startswith("pool"):
        return int(2 ** int(name.removeprefix("pool")))
    match = re.fullmatch(r"(?:conv|bn|relu)(\d)_\d", name)
    return int(2 ** (int(match[1]) - 1)) if match else 1
