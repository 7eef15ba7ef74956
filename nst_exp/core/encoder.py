"""A torchvision classifier as an encoder: from an image to the feature maps of named layers."""

from __future__ import annotations

import contextlib
import copy
import warnings
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from nst_exp.config import layer_names, schema
from nst_exp.config.loss_layers import RGB
from nst_exp.core.pooling import LEAF_MODULES, pool_before_relu, replace_pooling
from nst_exp.core.preprocessing import Preprocessing
from nst_exp.core.random_weights import draw_weights
from nst_exp.core.winograd import accelerate
from nst_exp.utils.errors import ConfigError, WeightsError
from nst_exp.utils.suggest import did_you_mean

LARGEST_SIDE = 1024  # that is tried in search of the least size
WRONG_SIZE = (RuntimeError, AssertionError)  # what networks raise; vision transformers the latter


class Encoder(nn.Module):
    """Frozen encoder. Always in inference mode: BatchNorm uses its stored statistics."""

    def __init__(
        self,
        trunk: nn.Module,
        nodes: Mapping[str, str],
        convention: schema.InputConvention,
        channels_last: bool = True,
        map_scale: float = 1.0,
    ) -> None:
        """Wrap a trunk that returns {node: feature map}; ``nodes`` has the node of each layer.

        The layer "rgb" is the image itself.
        """
        super().__init__()
        self.trunk, self.nodes, self.map_scale = trunk, dict(nodes), map_scale
        self.preprocessing = Preprocessing(convention)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.trunk.to(memory_format=self.memory_format)
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> Encoder:
        """Stay in inference mode, whatever ``mode`` is."""
        return super().train(False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Compute {layer: feature map (1, N, h, w)} of an image (1, 3, H, W), RGB in 0..1."""
        maps = {node: self.scaled(x) for node, x in self.trunk(self.trunk_input(image)).items()}
        maps[RGB] = image
        return {layer: maps[node] for layer, node in self.nodes.items()}

    def trunk_input(self, image: Tensor) -> Tensor:
        """Convert an image (1, 3, H, W), RGB in 0..1, to what the network sees."""
        x: Tensor = self.preprocessing(image)
        return x.contiguous(memory_format=self.memory_format)

    def scaled(self, values: Tensor) -> Tensor:
        """Multiply a feature map by ``map_scale``."""
        return values if self.map_scale == 1.0 else values * self.map_scale

    def maps_on_demand(self, image: Tensor) -> Mapping[str, Tensor]:
        """Return the maps of ``forward``, each computed when it is first read.

        What is computed of a map before the next one is read has its gradient computed just before
        that map's own. With the maps of ``forward`` all such gradients are computed first and kept.
        """
        return _MapsOnDemand(self, image)


class _MapsOnDemand(Mapping[str, Tensor]):
    """Feature maps by layer; the network is computed as far as they are read."""

    def __init__(self, encoder: Encoder, image: Tensor) -> None:
        self.places, self.found = encoder.nodes, {RGB: image}
        device = image.device.type
        # Maps may be read where autocast or gradients are switched off.
        dtype, enabled = torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
        self.autocast = torch.autocast(device, dtype, enabled)
        self.gradients = torch.is_grad_enabled()
        self.nodes = _compute_nodes(encoder, encoder.trunk_input(image))

    def __getitem__(self, layer: str) -> Tensor:
        node = self.places[layer]
        with self.autocast, torch.set_grad_enabled(self.gradients):
            while node not in self.found:
                name, values = next(self.nodes)
                self.found[name] = values
        return self.found[node]

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def _compute_nodes(encoder: Encoder, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Compute the nodes of the trunk one by one, and yield those that are returned."""
    trunk = cast(fx.GraphModule, encoder.trunk)
    (returned,) = next(node for node in trunk.graph.nodes if node.op == "output").args
    names = {node: name for name, node in cast(dict[str, fx.Node], returned).items()}
    interpreter = fx.Interpreter(trunk)
    interpreter.args_iter = iter([x])
    for node in trunk.graph.nodes:
        interpreter.env[node] = interpreter.run_node(node)
        if node in names:
            yield names[node], encoder.scaled(interpreter.env[node])
        for unused in interpreter.user_to_last_uses.get(node, []):
            del interpreter.env[unused]


def build_encoder(
    settings: schema.Backbone,
    layers: Sequence[str],
    state_dict: Mapping[str, Tensor] | None,
    seed: int = 0,
    channels_last: bool = True,
    winograd: bool = True,
) -> Encoder:
    """Build the network of ``settings``, cut after the last of ``layers``.

    Args:
        settings: Architecture, pooling, padding and input convention.
        layers: Layers whose feature maps are returned.
        state_dict: Weights under torchvision's names, more than needed is fine; random if None.
        seed: Seed of random weights.
        channels_last: Memory format of weights and feature maps.
        winograd: Whether to use Winograd's algorithm in the convolutions that gain by it.

    Raises:
        ConfigError: If the architecture or a layer does not exist.
        WeightsError: If a needed weight is missing.
    """
    trunk, nodes = _cut_network(settings, layers, "cpu" if state_dict is None else "meta", seed)
    if state_dict is None:
        draw_weights(trunk, settings.input, seed)
    else:
        _load_weights(trunk, state_dict, settings.name, layers)
    if winograd:
        accelerate(trunk)
    return Encoder(trunk, nodes, settings.input, channels_last, settings.map_scale)


def build_shadow(settings: schema.Backbone, layers: Sequence[str]) -> Encoder:
    """Build the network on torch's device "meta", where only the shapes of maps are computed.

    Raises:
        ConfigError: If the architecture or a layer does not exist.
    """
    trunk, nodes = _cut_network(settings, layers, "meta", seed=0)
    return Encoder(trunk, nodes, settings.input).to("meta")


def _cut_network(
    settings: schema.Backbone, layers: Sequence[str], device: str, seed: int
) -> tuple[fx.GraphModule, dict[str, str]]:
    """Return the network up to the last of ``layers``, and the node of each layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = new_model(settings.name, device).eval()
    replace_pooling(model, settings)
    _set_padding(model, settings)
    nodes = _resolve_layers(model, settings.name, layers)
    trunk = create_feature_extractor(
        model,
        return_nodes={node: node for node in nodes.values()},
        tracer_kwargs={"leaf_modules": LEAF_MODULES},
        suppress_diff_warning=True,
    ).eval()
    _protect_outputs(trunk)
    pool_before_relu(trunk)
    if RGB in layers:
        nodes[RGB] = RGB
    return trunk, nodes


def new_model(name: str, device: str) -> nn.Module:
    """Build torchvision's classifier ``name`` without weights, on ``device``.

    Raises:
        ConfigError: If torchvision has no classifier of that name.
    """
    if name not in (known := models.list_models(module=models)):
        raise ConfigError(
            f"backbone.name={name}: torchvision has no such classifier{did_you_mean(name, known)}"
        )
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        # Trained with inputs of another scale, which torchvision converts inside the model.
        options = {"transform_input": True, "init_weights": False, "aux_logits": False}
    elif name.startswith("vgg"):
        options = {"init_weights": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about initialization, which is done elsewhere
        try:
            with torch.device(device):
                return cast(nn.Module, models.get_model(name, weights=None, **options))
        except NotImplementedError:  # RegNet computes its widths with tensors: not on "meta"
            return cast(nn.Module, models.get_model(name, weights=None, **options).to(device))


def feature_maps(encoder: Encoder, image: Tensor, key: str) -> dict[str, Tensor]:
    """Compute the feature maps of an image, without a graph; ``key`` is the image's config key.

    Raises:
        ConfigError: If a feature map would be empty, or a layer does not return feature maps.
    """
    height, width = image.shape[2:]
    try:
        with torch.no_grad():
            maps: dict[str, Tensor] = encoder(image)
    except RuntimeError as error:
        least = least_size(encoder)
        if min(height, width) >= least:
            raise
        raise ConfigError(
            f"{key}: {width}x{height} pixels are too few for these layers, which need {least} on "
            "the shorter side"
        ) from error
    for layer, values in maps.items():
        if values.dim() != 4:
            raise ConfigError(
                f"loss: layer '{layer}' returns {tuple(values.shape)}, not feature maps "
                "(1, N, H, W); name a convolution, ReLU or pooling"
            )
    return maps


def reflecting(encoder: Encoder) -> Encoder:
    """Copy an encoder whose padding is circular, with reflection instead."""
    copied = copy.deepcopy(encoder).train(False)  # a copied graph is in training mode
    for module in copied.modules():
        if getattr(module, "padding_mode", "zeros") == "circular":
            cast(Any, module).padding_mode = "reflect"
    return copied


def map_shapes(encoder: Encoder, image: Tensor) -> dict[str, Tensor]:
    """Compute the shapes of an image's feature maps: maps on torch's device "meta"."""
    with torch.no_grad():
        maps: dict[str, Tensor] = _shadow(encoder)(image.to("meta", torch.float32))
    return maps


def least_size(encoder: Encoder) -> int:
    """Find the side of the smallest square image for which no feature map is empty.

    LARGEST_SIDE + 1 if there is none, or if larger ones fail again: some transformers take only
    multiples of a size.
    """
    shadow = _shadow(encoder)

    def fits(side: int) -> bool:
        with torch.no_grad(), contextlib.suppress(*WRONG_SIZE):
            shadow(torch.empty(1, 3, side, side, device="meta"))
            return True
        return False

    return bisect_left(range(LARGEST_SIDE + 1), True, lo=1, key=fits)


def _shadow(encoder: Encoder) -> Encoder:
    copied = copy.deepcopy(encoder).to("meta", torch.float32)
    return copied.train(False)  # a copied graph is in training mode


def _set_padding(model: nn.Module, settings: schema.Backbone) -> None:
    if settings.padding is schema.Padding.zeros:
        return
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    padded = [module for module in convolutions if module.padding not in ((0, 0), "valid")]
    if settings.padding is schema.Padding.replicate:
        if padded[:1] != convolutions[:1]:
            raise ConfigError(
                f"backbone.padding=replicate: the first convolution of {settings.name} has no "
                "padding; use backbone.padding=reflect"
            )
        padded = padded[:1]
    for module in padded:
        module.padding_mode = cast(Any, settings.padding.name)


def _resolve_layers(model: nn.Module, name: str, layers: Sequence[str]) -> dict[str, str]:
    table = layer_names.aliases(name)
    _, nodes = get_graph_node_names(
        model, tracer_kwargs={"leaf_modules": LEAF_MODULES}, suppress_diff_warning=True
    )
    found = {layer: table.get(layer, layer) for layer in layers if layer != RGB}
    problems = [
        f"backbone={name} has no layer '{layer}'{did_you_mean(layer, [*table, *nodes])}\n"
        f"    its layers: {', '.join(table or nodes)}"
        for layer, node in found.items()
        if node not in nodes
    ]
    if problems:
        raise ConfigError(problems)
    return found


def _protect_outputs(trunk: fx.GraphModule) -> None:
    """Keep operations after a returned map from overwriting it, as an in-place ReLU does."""
    outputs = next(n for n in trunk.graph.nodes if n.op == "output")
    for node in outputs.all_input_nodes:
        for user in node.users:
            if user.op == "call_module":
                module = trunk.get_submodule(str(user.target))
                if getattr(module, "inplace", False):
                    module.inplace = False  # type: ignore[assignment]
            elif user.kwargs.get("inplace"):
                user.kwargs = {**user.kwargs, "inplace": False}
    trunk.recompile()


def _load_weights(
    trunk: nn.Module, state_dict: Mapping[str, Tensor], name: str, layers: Sequence[str]
) -> None:
    needed = trunk.state_dict()
    counters = {n for n in needed if n.endswith("num_batches_tracked")}
    if missing := sorted(needed.keys() - state_dict.keys() - counters):
        raise WeightsError(
            f"backbone={name}: the weights lack {', '.join(missing[:5])}, "
            f"which {', '.join(layers)} need"
        )
    zero = torch.zeros((), dtype=torch.long)
    trunk.load_state_dict({key: state_dict.get(key, zero) for key in needed}, assign=True)
