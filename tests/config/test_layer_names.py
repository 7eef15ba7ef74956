"""The tables of layer names, compared with torchvision's networks on the meta device."""

from functools import cache

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models.feature_extraction import get_graph_node_names

from nst_exp.config.layer_names import RESNET_BLOCKS, VGG_BLOCKS, aliases, least_size

VGGS = [f"{name}{suffix}" for name in VGG_BLOCKS for suffix in ("", "_bn")]
KINDS = {"conv": nn.Conv2d, "bn": nn.BatchNorm2d, "relu": nn.ReLU, "pool": nn.MaxPool2d}


@cache
def network(name: str) -> nn.Module:
    with torch.device("meta"):
        return models.get_model(name, weights=None).eval()


@cache
def graph_nodes(name: str) -> list[str]:
    return get_graph_node_names(network(name), suppress_diff_warning=True)[1]


@pytest.mark.parametrize("name", [*VGGS, *RESNET_BLOCKS, "squeezenet1_1", "alexnet"])
def test_every_alias_is_a_node_of_the_graph(name: str) -> None:
    assert set(aliases(name).values()) <= set(graph_nodes(name))


@pytest.mark.parametrize("name", VGGS)
def test_vgg_names_count_blocks_and_convolutions(name: str) -> None:
    """A block ends with a pooling layer; its convolutions are counted from 1."""
    expected, block, number = {}, 1, 0
    for index, module in enumerate(network(name).features):
        number += isinstance(module, nn.Conv2d)
        kind = next(kind for kind, cls in KINDS.items() if isinstance(module, cls))
        layer = f"pool{block}" if kind == "pool" else f"{kind}{block}_{number}"
        expected[layer] = f"features.{index}"
        if kind == "pool":
            block, number = block + 1, 0
    assert aliases(name) == expected


@pytest.mark.parametrize("name", list(RESNET_BLOCKS))
def test_resnet_names_count_blocks_and_end_with_them(name: str) -> None:
    table, nodes = aliases(name), graph_nodes(name)
    for stage in range(1, 5):
        blocks = len(network(name).get_submodule(f"layer{stage}"))
        assert f"layer{stage}_{blocks + 1}" not in table
        assert table[f"layer{stage}"] == table[f"layer{stage}_{blocks}"]
        for block in range(blocks):
            node = table[f"layer{stage}_{block + 1}"]
            assert node.startswith(f"layer{stage}.{block}.relu_")
            assert not nodes[nodes.index(node) + 1].startswith(f"layer{stage}.{block}.")


@pytest.mark.parametrize("name", ["squeezenet1_1", "alexnet"])
def test_other_names_are_those_of_the_modules(name: str) -> None:
    for layer, node in aliases(name).items():
        kind = layer.rstrip("0123456789")
        if kind == "fire":  # the whole module, which ends by joining its two halves
            module = node.removesuffix(".cat")
            assert type(network(name).get_submodule(module)).__name__ == "Fire"
            nodes = graph_nodes(name)
            assert not nodes[nodes.index(node) + 1].startswith(f"{module}.")
        else:
            assert isinstance(network(name).get_submodule(node), KINDS[kind]), layer


@pytest.mark.parametrize("reflects", [False, True])
@pytest.mark.parametrize("name", VGGS)
def test_least_size_is_the_smallest_with_an_output(name: str, reflects: bool) -> None:
    least: dict[str, int] = {}
    for side in (1, 2, 3, 4, 7, 8, 15, 16, 31, 32):
        x = torch.empty(1, 3, side, side, device="meta")
        for index, module in enumerate(network(name).features):
            try:
                if reflects and isinstance(module, nn.Conv2d):
                    torch.nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
                x = module(x)
            except RuntimeError:  # too small for this layer
                break
            least.setdefault(f"features.{index}", side)
    for layer, node in aliases(name).items():
        for either in (layer, node):
            assert least_size(name, either, reflects) == least[node], layer
    assert least_size(name, "classifier.0") == 1  # unknown, as for all layers of other networks
