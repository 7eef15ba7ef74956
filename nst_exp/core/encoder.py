"""A torchvision classifier as an encoder: image in 0..1 -> the named feature maps, and no more."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from nst_exp.config import layer_names as layers
from nst_exp.config import schema as config
from nst_exp.core.winograd import WinogradConv2d, suits
from nst_exp.utils.errors import ConfigError, WeightsError
from nst_exp.utils.suggest import did_you_mean

Triple = tuple[float, float, float]
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)  # RGB; torchvision's models
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
CAFFE_MEAN: Triple = (103.939, 116.779, 123.68)  # BGR in 0..255; Simonyan and Zisserman's release


NORMALIZATION: dict[config.InputConvention, tuple[Triple, Triple]] = {
    config.InputConvention.imagenet: (IMAGENET_MEAN, IMAGENET_STD),
    config.InputConvention.imagenet_255: (IMAGENET_MEAN, (1 / 255, 1 / 255, 1 / 255)),
    config.InputConvention.caffe: (CAFFE_MEAN, (1.0, 1.0, 1.0)),
}
"""Subtracted from and divided into RGB in 0..1; for caffe, BGR in 0..255."""


class ScaledPool(nn.Module):
    """A pooling layer whose output is multiplied by a constant."""

    def __init__(self, pool: nn.Module, scale: float) -> None:
        super().__init__()
        self.pool, self.scale = pool, scale

    def forward(self, x: Tensor) -> Tensor:
        """(1, N, H, W) -> (1, N, h, w)."""
        return cast(Tensor, self.pool(x) * self.scale)


class L2Pool(nn.Module):
    """The root of each window's sum of squares.

    torch's LPPool2d has a gradient of NaN where a whole window is 0, as behind a ReLU it may be.
    """

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.sides = (pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode)

    def forward(self, x: Tensor) -> Tensor:
        """(1, N, H, W) -> (1, N, h, w)."""
        squares = nn.functional.avg_pool2d(x.square(), *self.sides, divisor_override=1)
        return squares.clamp(min=torch.finfo(x.dtype).tiny).sqrt()


class Encoder(nn.Module):
    """Frozen encoder. Always in inference mode: BatchNorm uses its stored statistics."""

    def __init__(
        self,
        trunk: nn.Module,
        nodes: Mapping[str, str],
        convention: config.InputConvention,
        channels_last: bool = True,
        map_scale: float = 1.0,
    ) -> None:
        """``trunk`` returns {node: feature map}; ``nodes`` maps each layer's name to its node."""
        super().__init__()
        self.trunk, self.nodes, self.convention = trunk, dict(nodes), convention
        self.map_scale = map_scale
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.trunk.to(memory_format=self.memory_format)
        mean, std = NORMALIZATION[convention]
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> Encoder:
        """Stay in inference mode, whatever the trainer asks for."""
        return super().train(False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Image (1, 3, H, W), RGB in 0..1 -> {layer: feature map (1, N, h, w)}."""
        mean, std = cast(Tensor, self.mean), cast(Tensor, self.std)
        if self.convention is config.InputConvention.caffe:
            image = image.flip(1) * 255.0
        x = ((image - mean) / std).contiguous(memory_format=self.memory_format)
        maps = self.trunk(x)
        if self.map_scale != 1.0:
            maps = {node: values * self.map_scale for node, values in maps.items()}
        return {layer: maps[node] for layer, node in self.nodes.items()}


def classifier_names() -> list[str]:
    """The names of torchvision's classifiers."""
    return cast(list[str], models.list_models(module=models))


def _new_model(name: str) -> nn.Module:
    if name not in (known := classifier_names()):
        raise ConfigError(
            f"backbone.name={name}: torchvision has no such classifier{did_you_mean(name, known)}"
        )
    accepted = inspect.signature(models.get_model_builder(name)).parameters
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        # Trained with inputs of another scale, which torchvision converts inside the model.
        options = {"transform_input": True, "init_weights": False, "aux_logits": False}
    elif "kwargs" in accepted and name.startswith("vgg"):
        options = {"init_weights": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about initialization, which is done elsewhere
        return cast(nn.Module, models.get_model(name, weights=None, **options))


def _replace(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, child = path.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def _set_pooling(model: nn.Module, settings: config.Backbone) -> None:
    if settings.pool is config.Pool.max and settings.pool_scale == 1.0:
        return
    pools = {n: m for n, m in model.named_modules() if isinstance(m, nn.MaxPool2d)}
    if not pools:
        raise ConfigError(f"backbone.pool: {settings.name} has no max pooling to replace")
    for path, pool in pools.items():
        new: nn.Module = pool
        if settings.pool is config.Pool.average:
            new = nn.AvgPool2d(
                pool.kernel_size,
                pool.stride,
                pool.padding,
                ceil_mode=pool.ceil_mode,
                count_include_pad=False,
            )
        elif settings.pool is config.Pool.l2:
            new = L2Pool(pool)
        if settings.pool_scale != 1.0:
            new = ScaledPool(new, settings.pool_scale)
        _replace(model, path, new)


def _set_padding(model: nn.Module, settings: config.Backbone) -> None:
    if settings.padding is config.Padding.zeros:
        return
    path, first = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    if not isinstance(first.padding, tuple) or not any(first.padding):
        raise ConfigError(
            f"backbone.padding={settings.padding.name}: the first convolution of {settings.name} "
            "pads nothing; use backbone.padding=zeros"
        )
    # A new module, since the amounts are worked out when a convolution is made.
    new = nn.Conv2d(
        first.in_channels,
        first.out_channels,
        cast(tuple[int, int], first.kernel_size),
        cast(tuple[int, int], first.stride),
        cast(tuple[int, int], first.padding),
        bias=first.bias is not None,
        padding_mode="replicate",
        device=first.weight.device,
    )
    new.load_state_dict(first.state_dict(), assign=True)
    _replace(model, path, new)


def _resolve(model: nn.Module, settings: config.Backbone, wanted: Sequence[str]) -> dict[str, str]:
    """{layer: node}; ConfigError lists every layer that the network lacks."""
    table = layers.aliases(settings.name)
    _, nodes = get_graph_node_names(
        model, tracer_kwargs={"leaf_modules": [ScaledPool, L2Pool]}, suppress_diff_warning=True
    )
    found = {layer: table.get(layer, layer) for layer in wanted}
    problems = [
        f"backbone={settings.name} has no layer '{layer}'{did_you_mean(layer, [*table, *nodes])}\n"
        f"    its layers: {', '.join(table or nodes)}"
        for layer, node in found.items()
        if node not in nodes
    ]
    if problems:
        raise ConfigError(problems)
    return found


def _keep_read_maps(trunk: fx.GraphModule, nodes: Sequence[str]) -> None:
    """Where a map is read, the operation behind it must not overwrite it (in-place ReLU)."""
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


def build_encoder(
    settings: config.Backbone,
    wanted: Sequence[str],
    state_dict: Mapping[str, Tensor] | None,
    seed: int = 0,
    channels_last: bool = True,
    winograd: bool = True,
) -> Encoder:
    """The network of ``settings``, cut behind the last of the ``wanted`` layers.

    ``state_dict`` holds the weights under torchvision's names (more than needed is fine); None
    draws random ones from ``seed``. ``winograd`` replaces the convolutions that gain by it.
    Raises ConfigError for an unknown architecture or layer and WeightsError if a needed weight is
    missing.
    """
    random = state_dict is None
    with torch.device("cpu" if random else "meta"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _new_model(settings.name).eval()
    _set_pooling(model, settings)
    _set_padding(model, settings)
    nodes = _resolve(model, settings, wanted)
    trunk = create_feature_extractor(
        model,
        return_nodes={node: node for node in nodes.values()},
        tracer_kwargs={"leaf_modules": [ScaledPool, L2Pool]},
        suppress_diff_warning=True,
    ).eval()
    _keep_read_maps(trunk, list(nodes.values()))
    if state_dict is None:
        _draw_weights(trunk, settings.input, seed)
    else:
        needed = trunk.state_dict()
        counters = {n for n in needed if n.endswith("num_batches_tracked")}
        if missing := sorted(needed.keys() - state_dict.keys() - counters):
            raise WeightsError(
                f"backbone={settings.name}: the weights lack {', '.join(missing[:5])}, "
                f"which {', '.join(wanted)} need"
            )
        weights = {name: state_dict[name] for name in needed if name in state_dict}
        weights |= {name: torch.zeros((), dtype=torch.long) for name in counters - weights.keys()}
        trunk.load_state_dict(weights, assign=True)
    if winograd:
        for path, module in list(trunk.named_modules()):
            if isinstance(module, nn.Conv2d) and suits(module):
                _replace(trunk, path, WinogradConv2d(module))
    return Encoder(trunk, nodes, settings.input, channels_last, settings.map_scale)


@torch.no_grad()
def _draw_weights(trunk: nn.Module, convention: config.InputConvention, seed: int) -> None:
    """Random weights under which activations keep their size from layer to layer.

    Convolutions after He et al. 2015 (fan in); BatchNorm measures its statistics on noise, which
    also keeps the sums of residual networks from growing much.
    """
    generator = torch.Generator().manual_seed(seed)
    convolutions = [m for m in trunk.modules() if isinstance(m, nn.Conv2d)]
    for module in convolutions:
        fan_in = module.weight[0].numel()
        module.weight.normal_(0.0, (2.0 / fan_in) ** 0.5, generator=generator)
        if module.bias is not None:
            module.bias.zero_()
    spread = 1.0 if convention is config.InputConvention.imagenet else 255.0 * sum(IMAGENET_STD) / 3
    if convolutions:
        convolutions[0].weight.div_(spread)
    norms = [m for m in trunk.modules() if isinstance(m, nn.BatchNorm2d)]
    if norms:
        # Coarse and fine: on fine noise alone all positions look the same to the deep layers, whose
        # variance would be measured far too small for pictures.
        noise = torch.randn(8, 3, 64, 64, generator=generator)
        for side in (1, 4, 16):
            coarse = torch.randn(8, 3, side, side, generator=generator)
            noise += nn.functional.interpolate(coarse, size=(64, 64))
        noise *= spread / 2
        for norm in norms:
            norm.train()
            norm.momentum = None  # a plain average: of this one batch
            norm.reset_running_stats()
        trunk(noise)
        for norm in norms:
            norm.eval()
