"""Which pixels of the image each position of a feature map depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from torch import fx, nn

from nst_exp.config.loss_layers import RGB
from nst_exp.core.encoder import Encoder
from nst_exp.core.pooling import L2Pool, ScaledPool


@dataclass(frozen=True)
class ReceptiveField:
    """Position i of a feature map sees the pixels from start + i * stride, ``size`` of them.

    The same for rows and columns. A negative start is in the padding.
    """

    size: int
    stride: int
    start: int

    def through(self, kernel: int, stride: int, padding: int) -> ReceptiveField:
        """Return the field after a layer with this window."""
        size = self.size + (kernel - 1) * self.stride
        return ReceptiveField(size, self.stride * stride, self.start - padding * self.stride)

    def joined(self, other: ReceptiveField) -> ReceptiveField:
        """Return the smallest field that covers both; they have the same stride."""
        start = min(self.start, other.start)
        end = max(self.start + self.size, other.start + other.size)
        return ReceptiveField(end - start, self.stride, start)


def receptive_fields(encoder: Encoder) -> dict[str, ReceptiveField]:
    """Compute the receptive field of every layer that the encoder returns.

    Raises:
        ValueError: If a layer depends on the whole image.
    """
    fields: dict[str, ReceptiveField] = {}
    nodes: list[Any] = list(cast(fx.GraphModule, encoder.trunk).graph.nodes)
    for node in nodes:
        if node.op == "placeholder":
            fields[node.name] = ReceptiveField(1, 1, 0)
        elif node.op != "output" and (before := _inputs(node, fields)):
            field = before[0]
            for other in before[1:]:
                field = field.joined(other)
            if node.op == "call_module":
                field = _through(field, encoder.trunk.get_submodule(str(node.target)))
            fields[node.name] = field
    (returned,) = nodes[-1].args
    return {
        layer: ReceptiveField(1, 1, 0) if layer == RGB else fields[returned[node].name]
        for layer, node in encoder.nodes.items()
    }


def _inputs(node: fx.Node, fields: dict[str, ReceptiveField]) -> list[ReceptiveField]:
    return [fields[source.name] for source in node.all_input_nodes if source.name in fields]


def _through(field: ReceptiveField, module: nn.Module) -> ReceptiveField:
    if isinstance(module, ScaledPool):
        module = module.pool
    if isinstance(module, L2Pool):
        kernel, stride, padding, _ = module.window
        return field.through(_side(kernel), _side(stride), _side(padding))
    if isinstance(module, nn.Conv2d):
        kernel = 1 + (_side(module.kernel_size) - 1) * _side(module.dilation)
        return field.through(kernel, _side(module.stride), _side(module.padding))
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        sides = (module.kernel_size, module.stride, module.padding)
        return field.through(*(_side(side) for side in sides))
    if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
        raise ValueError(f"{type(module).__name__} depends on the whole image")
    return field


def _side(value: Any) -> int:
    """Return the length of a square window's side."""
    sides = value if isinstance(value, tuple) else (value, value)
    if sides[0] != sides[1]:
        raise ValueError(f"a window of {sides[0]}x{sides[1]} is not square")
    return int(sides[0])
