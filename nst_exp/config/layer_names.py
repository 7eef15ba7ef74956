"""Names of layers, as papers use them, and torchvision's names of the nodes of its graphs.

Node names (``features.21``, ``layer2.0.relu_1``) are accepted wherever a layer is named.
"""

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
    names = []
    for block, convolutions in enumerate(blocks, start=1):
        names += [f"{kind}{block}_{k + 1}" for k in range(convolutions) for kind in kinds]
        names.append(f"pool{block}")
    return {layer: f"features.{index}" for index, layer in enumerate(names)}


def _resnet(name: str) -> dict[str, str]:
    stages, convolutions = RESNET_BLOCKS[name]
    table = {"conv1": "conv1", "bn1": "bn1", "relu1": "relu", "pool1": "maxpool"}
    for stage, blocks in enumerate(stages, start=1):
        for block in range(blocks):
            # A block ends in its last ReLU, which the graph numbers from the second.
            table[f"layer{stage}_{block + 1}"] = f"layer{stage}.{block}.relu_{convolutions - 1}"
        table[f"layer{stage}"] = table[f"layer{stage}_{blocks}"]
    # out_0 ... out_5: the outputs as posts about style transfer with ResNet-50 number them.
    outputs = ["conv1", "pool1", "layer1", "layer2", "layer3", "layer4"]
    return table | {f"out_{i}": table[layer] for i, layer in enumerate(outputs)}


_ALEXNET = "conv1 relu1 pool1 conv2 relu2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5"
_FIRES = {2: 3, 3: 4, 4: 6, 5: 7, 6: 9, 7: 10, 8: 11, 9: 12}  # number -> index
_SQUEEZENET = {"conv1": 0, "relu1": 1, "pool1": 2, "pool3": 5, "pool5": 8}
_OTHERS = {
    "alexnet": {layer: f"features.{index}" for index, layer in enumerate(_ALEXNET.split())},
    "squeezenet1_1": {layer: f"features.{index}" for layer, index in _SQUEEZENET.items()}
    | {f"fire{number}": f"features.{index}.cat" for number, index in _FIRES.items()},
}


def aliases(architecture: str) -> dict[str, str]:
    """Return torchvision's node name for each layer name; empty for other classifiers."""
    if architecture.removesuffix("_bn") in VGG_BLOCKS:
        return _vgg(architecture)
    if architecture in RESNET_BLOCKS:
        return _resnet(architecture)
    return _OTHERS.get(architecture, {})


def layer_problem(architecture: str, layer: str, key: str) -> str | None:
    """Describe what is wrong with the name of a layer, as far as that is known without torch.

    Node names are checked when the network is built.
    """
    table = aliases(architecture)
    if not table or layer in table or "." in layer or layer in table.values():
        return None
    return (
        f"{key}: {architecture} has no layer '{layer}'{did_you_mean(layer, table)}\n"
        f"    its layers: {', '.join(table)} (or torchvision's node names)"
    )


def least_size(architecture: str, layer: str, reflects: bool = False) -> int:
    """Return the smallest side in pixels for which a layer of a VGG is not empty; 1 for others.

    Args:
        architecture: Name of the classifier.
        layer: Name of the layer or of its node.
        reflects: Whether convolutions reflect a pixel of their input, which then has at least two.
    """
    if architecture.removesuffix("_bn") not in VGG_BLOCKS:
        return 1
    side = 1
    for name, node in _vgg(architecture).items():
        side *= 1 + name.startswith("pool")
        if layer in (name, node):
            return side * 2 if reflects and not name.startswith("pool") else side
    return 1
