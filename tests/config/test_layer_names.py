"""The tables of layer names, compared with torchvision's networks on the meta device."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models.feature_extraction import get_graph_node_names

from nst_exp.config.layer_names import RESNET_BLOCKS, VGG_BLOCKS, aliases, layer_problem, least_size

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
            nodes = graph_nodes(name)
            module = node.removesuffix(".cat")
            assert type(network(name).get_submodule(module)).__name__ == "Fire"
            assert not nodes[nodes.index(node) + 1].startswith(f"{module}.")
        else:
            assert isinstance(network(name).get_submodule(node), KINDS[kind]), layer


@pytest.mark.parametrize("name", VGGS)
def test_least_size_is_the_smallest_with_an_output(name: str) -> None:
    least: dict[str, int] = {}
    for side in range(1, 33):
        x = torch.empty(1, 3, side, side, device="meta")
        for index, module in enumerate(network(name).features):
            try:
                x = module(x)
            except RuntimeError:  # too small for this pooling layer
                break
            least.setdefault(f"features.{index}", side)
    for layer, node in aliases(name).items():
        assert least_size(name, layer) == least_size(name, node) == least[node], layer


def test_least_size_of_other_layers_is_unknown() -> None:
    assert least_size("resnet18", "layer4") == 1
    assert least_size("vgg19", "classifier.0") == 1


@pytest.mark.parametrize(
    ("name", "layer", "near"),
    [("vgg19", "relu4_9", "relu4_"), ("vgg16", "relu4_4", "relu4_"), ("vgg16", "bn1_1", "")],
)
def test_wrong_names_are_answered_with_the_nearest(name: str, layer: str, near: str) -> None:
    message = layer_problem(name, layer, "loss.content.layers") or ""
    assert message.startswith(f"loss.content.layers: {name} has no layer '{layer}'")
    assert ("; did you mean '" + near) in message or not near
    assert "its layers: conv1_1, relu1_1, " in message


@pytest.mark.parametrize(
    ("name", "layer"),
    [("vgg16", "relu4_3"), ("vgg16", "features.3"), ("resnet18", "maxpool"), ("densenet121", "x")],
)
def test_names_that_may_exist_are_left_to_the_network(name: str, layer: str) -> None:
    assert layer_problem(name, layer, "k") is None
