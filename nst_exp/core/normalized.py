"""Networks rescaled so that every channel's mean activation is 1.

Gatys, Ecker and Bethge, CVPR 2016, section 2: "We normalized the network by scaling the weights
such that the mean activation of each convolutional filter over images and positions is equal to
one. Such re-scaling can be done for the VGG network without changing its output, because it
contains only rectifying linear activation functions and no normalization or pooling over feature
maps." Every feature map is the old one divided by a number per channel, the channel's scale.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, fx, nn

from nst_exp.config import layer_names as layers
from nst_exp.config import schema as config
from nst_exp.core.encoder import Encoder, L2Pool, ScaledPool
from nst_exp.runner.calibration import CalibrationPicture
from nst_exp.utils.atomic_files import write_atomically, write_text_atomically
from nst_exp.utils.errors import ConfigError, OutputError, WeightsError
from nst_exp.utils.paths import cache_folder

Warn = Callable[[str], None]

FLOOR = 0.1
"""Least scale of a channel, as a share of its layer's mean activation.

A channel that hardly ever fires would be divided by next to nothing; the gain, times that of the
layers behind it, has driven L-BFGS into NaN."""

_VERSION = 1  # raised when the measurement changes: older means are then measured anew

# f(c x) = c f(x) for every c > 0, on each channel by itself.
_HOMOGENEOUS = (nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, ScaledPool, L2Pool)


@dataclass(frozen=True)
class Normalization:
    """What was measured, and what was made of it."""

    means: dict[str, Tensor]  # layer -> (N,): mean activation of each channel before; float64
    bounded: dict[str, int]  # layer -> channels whose mean is below the floor
    pictures: Sequence[CalibrationPicture]
    from_cache: bool

    def summary(self) -> str:
        """One line for the person at the terminal."""
        channels = sum(len(means) for means in self.means.values())
        names = ", ".join(picture.path.name for picture in self.pictures[:8])
        more = ", ..." if len(self.pictures) > 8 else ""
        return (
            f"normalized to a mean activation of 1 on {len(self.pictures)} pictures "
            f"({names}{more}), {'from the cache' if self.from_cache else 'measured now'}: "
            f"{sum(self.bounded.values())} of {channels} channels are bounded "
            f"(mean below {FLOOR:g} of their layer's)"
        )

    def as_record(self) -> dict[str, Any]:
        """Plain values for ``result.json``."""
        return {
            "pictures": [{"path": str(p.path), "sha256": p.sha256} for p in self.pictures],
            "from_cache": self.from_cache,
            "floor": FLOOR,
            "layers": {
                layer: {
                    "channels": len(means),
                    "bounded": self.bounded[layer],
                    "mean_before": float(means.mean()),
                }
                for layer, means in self.means.items()
            },
        }


def normalize_encoder(
    backbone: Encoder,
    settings: config.Backbone,
    weights_id: str,
    pictures: Sequence[CalibrationPicture],
    warn: Warn,
) -> Normalization:
    """Rescale the convolutions of ``backbone``, which is on the CPU, in place.

    It was built from ``settings``; ``weights_id`` tells its weights from any others (the SHA-256 of
    their file, or the seed). The means are cached; ``warn`` is told if the cache is damaged or
    cannot be written. Raises ConfigError unless the network is a chain of convolutions, ReLUs and
    pooling, and WeightsError if its activations are not finite.
    """
    chain = convolutions(backbone, settings.name)
    path = cache_folder() / "normalized" / f"{_key(settings, weights_id, chain, pictures)}"
    path = path.with_suffix(".safetensors")
    means = _cached(path, chain, warn)
    from_cache = means is not None
    if means is None:
        means = measure(backbone, chain, (picture.image for picture in pictures))
        for node, found in means.items():
            if not torch.isfinite(found).all():
                raise WeightsError(
                    f"backbone.normalized=true: the activations of {settings.name}'s {node} are "
                    "not finite; are the weights right, and backbone.input?"
                )
        _keep(path, means, warn)
    rescale(chain, {node: scales(found) for node, found in means.items()})
    names = {node: layer for layer, node in layers.aliases(settings.name).items()}
    return Normalization(
        {names.get(node, node): found for node, found in means.items()},
        {names.get(node, node): int(_is_bounded(found).sum()) for node, found in means.items()},
        pictures,
        from_cache,
    )


def convolutions(backbone: Encoder, name: str) -> dict[str, nn.Conv2d]:
    """The convolutions of the network ``name`` by their node, in order.

    Raises ConfigError, saying what the network has, unless it is a single chain of convolutions,
    ReLUs and pooling.
    """
    trunk = cast(fx.GraphModule, backbone.trunk)
    found: dict[str, nn.Conv2d] = {}
    strange: list[str] = []
    before: fx.Node | None = None
    for node in trunk.graph.nodes:
        if node.op == "output":
            break
        if before is not None:  # behind the image
            target = str(node.target)
            module = trunk.get_submodule(target) if node.op == "call_module" else None
            if node.all_input_nodes != [before]:
                strange.append("branches")
            if isinstance(module, nn.Conv2d) and module.groups == 1 and target not in found:
                found[target] = module
            elif not isinstance(module, _HOMOGENEOUS):
                function = getattr(node.target, "__name__", target)
                strange.append(type(module).__name__ if module is not None else function)
        before = node
    if strange:
        raise ConfigError(
            "backbone.normalized=true: needs a chain of convolutions, ReLUs and pooling, such as "
            f"vgg16, vgg19 or alexnet; {name} has {', '.join(dict.fromkeys(strange))}"
        )
    return found


@torch.no_grad()
def measure(
    backbone: Encoder, chain: Mapping[str, nn.Conv2d], images: Iterable[Tensor]
) -> dict[str, Tensor]:
    """Each convolution's mean activation behind the ReLU, over images and positions.

    ``images`` are (1, 3, H, W), RGB in 0..1; returns {node: (N,)}, float64.
    """
    sums = {
        node: torch.zeros(module.out_channels, dtype=torch.float64)
        for node, module in chain.items()
    }
    positions = dict.fromkeys(chain, 0)

    def adding(node: str) -> Callable[[nn.Module, Any, Tensor], None]:
        # At the convolution: a network that is cut there has no ReLU behind it.
        def add(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            sums[node] += output.relu().sum((0, 2, 3), dtype=torch.float64)
            positions[node] += output[:, 0].numel()

        return add

    hooks = [module.register_forward_hook(adding(node)) for node, module in chain.items()]
    try:
        for image in images:
            backbone(image.to(cast(Tensor, backbone.mean)))
    finally:
        for hook in hooks:
            hook.remove()
    return {node: total / positions[node] for node, total in sums.items()}


def scales(means: Tensor) -> Tensor:
    """What each channel of a layer is divided by: its mean activation, bounded from below.

    (N,) -> (N,), all positive. A layer that is all 0 keeps its scale.
    """
    average = means.mean()
    if average <= 0:
        return torch.ones_like(means)
    return means.clamp(min=float(FLOOR * average))


def _is_bounded(means: Tensor) -> Tensor:
    return scales(means) != means


@torch.no_grad()
def rescale(chain: Mapping[str, nn.Conv2d], by: Mapping[str, Tensor]) -> None:
    """Divide every convolution's channels by ``by[node]``, (N,) each, and undo it in the next."""
    before = torch.ones((), dtype=torch.float64)
    for node, module in chain.items():
        own = by[node].double()
        # New tensors: the old ones may be shared with the state dict that they came from.
        weight = module.weight.double() * before.view(1, -1, 1, 1) / own.view(-1, 1, 1, 1)
        module.weight = nn.Parameter(weight.to(module.weight), requires_grad=False)
        if module.bias is not None:
            bias = module.bias.double() / own
            module.bias = nn.Parameter(bias.to(module.bias), requires_grad=False)
        before = own


def _key(
    settings: config.Backbone,
    weights_id: str,
    chain: Mapping[str, nn.Conv2d],
    pictures: Sequence[CalibrationPicture],
) -> str:
    """A hash of all that the means depend on."""
    # The pixels, not the files: how a file is read may change (background, Pillow's version).
    pixels = [hashlib.sha256(p.image.contiguous().numpy().tobytes()) for p in pictures]
    parts = [
        _VERSION,
        settings.name,
        weights_id,
        settings.input.name,
        settings.pool.name,
        settings.pool_scale,
        settings.padding.name,
        list(chain),
        sorted(digest.hexdigest() for digest in pixels),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _cached(path: Path, chain: Mapping[str, nn.Conv2d], warn: Warn) -> dict[str, Tensor] | None:
    """The means that the cache holds; damaged ones are said and passed over."""
    try:
        data = path.read_bytes()
        noted = _digest_of(path).read_text(encoding="utf-8").strip()
        if hashlib.sha256(data).hexdigest() != noted:
            raise ValueError("they are not what was kept")
        found = safetensors.torch.load(data)
        for node, module in chain.items():
            if found[node].shape != (module.out_channels,) or found[node].dtype != torch.float64:
                raise ValueError(f"{node} is {found[node].dtype} {tuple(found[node].shape)}")
            if not torch.isfinite(found[node]).all() or (found[node] < 0).any():
                raise ValueError(f"{node} holds numbers that are no means")
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        warn(f"cached means {path} are not used ({error}); they are measured anew")
        return None
    return {node: found[node] for node in chain}


def _keep(path: Path, means: dict[str, Tensor], warn: Warn) -> None:
    """Put means into the cache; if that fails they are usable all the same."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        data = safetensors.torch.save(means)
        write_text_atomically(_digest_of(path), hashlib.sha256(data).hexdigest() + "\n")
        write_atomically(path, lambda stream: _write(stream, data))
    except (OSError, OutputError) as error:
        warn(f"the means cannot be kept in {path.parent} ({error})")


def _digest_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _write(stream: Any, data: bytes) -> None:
    stream.write(data)
