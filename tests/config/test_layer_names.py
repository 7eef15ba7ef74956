"""The tables of layer names, against torchvision's own networks (on meta tensors: no weights)."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models.feature_extraction import get_graph_node_names

from nst_exp.config import layer_names as layers

VGGS = [f"{name}{suffix}" for name in layers.VGG_BLOCKS for suffix in ("", "_bn")]
ARCHITECTURES = [*VGGS, *layers.RESNET_BLOCKS, "squeezenet1_1", "alexnet"]
KINDS = {"conv": nn.Conv2d, "bn": nn.BatchNorm2d, "relu": nn.ReLU, "pool": nn.MaxPool2d}


@cache
def network(name: str) -> nn.Module:
    with torch.device("meta"):
        return models.get_model(name, weights=None).eval()


@cache
def graph_nodes(name: str) -> list[str]:
    return get_graph_node_names(network(name), suppress_diff_warning=True)[1]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_alias_is_a_node_of_torchvisions_graph(name: str) -> None:
    assert set(layers.aliases(name).values()) <= set(graph_nodes(name))


@pytest.mark.parametrize("name", VGGS)
def test_vgg_names_say_what_the_module_is(name: str) -> None:
    features = network(name).features
    table = layers.aliases(name)
    assert sorted(table.values()) == sorted(f"features.{i}" for i in range(len(features)))
    for layer, node in table.items():
        kind = layer.rstrip("0123456789_")
        assert isinstance(network(name).get_submodule(node), KINDS[kind]), layer


@pytest.mark.parametrize("name", VGGS)
def test_vgg_names_count_blocks_and_convolutions(name: str) -> None:
    """A block is what lies between two poolings; its convolutions are counted from 1."""
    expected, block, number = {}, 1, 0
    for index, module in enumerate(network(name).features):
        if isinstance(module, nn.Conv2d):
            number += 1
        kind = next(kind for kind, cls in KINDS.items() if isinstance(module, cls))
        layer = f"pool{block}" if kind == "pool" else f"{kind}{block}_{number}"
        expected[layer] = f"features.{index}"
        if kind == "pool":
            block, number = block + 1, 0
    assert layers.aliases(name) == expected


@pytest.mark.parametrize("name", list(layers.RESNET_BLOCKS))
def test_resnet_blocks_end_where_the_next_one_begins(name: str) -> None:
    nodes = graph_nodes(name)
    for layer, node in layers.aliases(name).items():
        if layer.startswith("layer"):
            block = node.rpartition(".")[0]
            assert not nodes[nodes.index(node) + 1].startswith(f"{block}."), layer


@pytest.mark.parametrize("name", list(layers.RESNET_BLOCKS))
def test_resnet_names_count_all_blocks(name: str) -> None:
    table = layers.aliases(name)
    for stage in range(1, 5):
        blocks = network(name).get_submodule(f"layer{stage}")
        named = [table[f"layer{stage}_{block + 1}"] for block in range(len(blocks))]
        prefixes = [f"layer{stage}.{block}.relu" for block in range(len(blocks))]
        assert [node.rpartition("_")[0] for node in named] == prefixes
        assert f"layer{stage}_{len(blocks) + 1}" not in table
        assert table[f"layer{stage}"] == named[-1]


@pytest.mark.parametrize("name", ["squeezenet1_1", "alexnet"])
def test_other_names_say_what_the_module_is(name: str) -> None:
    for layer, node in layers.aliases(name).items():
        kind = layer.rstrip("0123456789")
        if kind == "fire":  # the whole module, which ends by joining its two halves
            nodes = graph_nodes(name)
            module = node.removesuffix(".cat")
            assert type(network(name).get_submodule(module)).__name__ == "Fire"
            assert not nodes[nodes.index(node) + 1].startswith(f"{module}.")
        else:
            assert isinstance(network(name).get_submodule(node), KINDS[kind]), layer


def least_sides(name: str) -> dict[str, int]:
    """By running the network: the smallest side at which each module's output is not empty."""
    least: dict[str, int] = {}
    for side in range(1, 33):
        x = torch.empty(1, 3, side, side, device="meta")
        for index, module in enumerate(network(name).features):
            try:
                x = module(x)
            except RuntimeError:  # nothing is left to pool
                break
            least.setdefault(f"features.{index}", side)
    return least


@pytest.mark.parametrize("name", VGGS)
def test_least_size_is_where_the_network_still_answers(name: str) -> None:
    least = least_sides(name)
    for layer, node in layers.aliases(name).items():
        assert layers.least_size(name, layer) == least[node], layer
        assert layers.least_size(name, node) == least[node], node


def test_least_size_of_other_networks_is_left_to_them() -> None:
    assert layers.least_size("resnet18", "layer4") == 1
    assert layers.least_size("vgg19", "classifier.0") == 1


def test_wrong_names_are_answered_with_the_nearest() -> None:
    message = layers.layer_problem("vgg19", "relu4_9", "loss.content.layers")
    assert message is not None
    assert message.startswith("loss.content.layers: vgg19 has no layer 'relu4_9'; did you mean")
    assert "relu4_4" in message
    assert "bn1_1" not in message
    assert layers.layer_problem("vgg16", "relu4_4", "k") is not None  # vgg19 has it, vgg16 has not
    assert layers.layer_problem("vgg16", "bn1_1", "k") is not None


@pytest.mark.parametrize(
    ("name", "layer"),
    [("vgg16", "relu4_3"), ("vgg16", "features.3"), ("resnet18", "maxpool"), ("densenet121", "x")],
)
def test_names_that_may_exist_are_left_to_the_network(name: str, layer: str) -> None:
    assert layers.layer_problem(name, layer, "k") is None
