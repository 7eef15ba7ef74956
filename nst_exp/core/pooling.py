"""Pooling layers that replace the max pooling of a network."""

from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn.functional import max_pool2d

from nst_exp.config.schema import Backbone, Pool
from nst_exp.utils.errors import ConfigError

LARGE_MAP = 2**23  # values, 34 MB in float32


class ScaledPool(nn.Module):
    """A pooling layer whose output is multiplied by a constant."""

    def __init__(self, pool: nn.Module, scale: float) -> None:
        super().__init__()
        self.pool, self.scale = pool, scale

    def forward(self, x: Tensor) -> Tensor:
        """Pool a feature map (1, N, H, W)."""
        return cast(Tensor, self.pool(x) * self.scale)


class L2Pool(nn.Module):
    """The root of each window's sum of squares.

    The gradient of torch's LPPool2d is NaN where a whole window is 0, as it may be after a ReLU.
    """

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.window = (pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode)

    def forward(self, x: Tensor) -> Tensor:
        """Pool a feature map (1, N, H, W)."""
        squares = nn.functional.avg_pool2d(x.square(), *self.window, divisor_override=1)
        return squares.clamp(min=torch.finfo(x.dtype).tiny).sqrt()


class _HalvedMax(torch.autograd.Function):
    """The largest value of each 2x2 window; of the map only a byte per window is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Map (1, N, H, W) to (1, N, H // 2, W // 2)."""
        pooled: Tensor = max_pool2d(x, 2)
        first, second, third, _ = ((corner < pooled).view(torch.uint8) for corner in _corners(x))
        # 0 to 3: the first corner that has the largest value.
        place = third.add_(1).mul_(second).add_(1).mul_(first)
        ctx.save_for_backward(place)
        ctx.shape = x.shape
        last = x.is_contiguous(memory_format=torch.channels_last)
        ctx.memory_format = torch.channels_last if last else torch.contiguous_format
        return pooled

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Map the gradient of the pooled map to that of the map."""
        (place,), (gradient,) = ctx.saved_tensors, gradients
        shape, layout = ctx.shape, ctx.memory_format
        found = torch.empty(
            shape, dtype=gradient.dtype, device=gradient.device, memory_format=layout
        )
        found[:, :, 2 * place.shape[2] :] = 0  # a last row and column that are in no window
        found[:, :, :, 2 * place.shape[3] :] = 0
        for index, corner in enumerate(_corners(found)):
            torch.mul(gradient, place == index, out=corner)
        return found


def _corners(x: Tensor) -> list[Tensor]:
    """View the four values of each 2x2 window of a map (1, N, H, W), each as a map."""
    height, width = (side // 2 * 2 for side in x.shape[2:])
    return [x[:, :, row:height:2, column:width:2] for row in (0, 1) for column in (0, 1)]


class HalvingMaxPool(nn.MaxPool2d):
    """nn.MaxPool2d(2) that does not keep a large map for the backward pass.

    For small ones torch's own is computed: it keeps them, and takes a third of the time.
    """

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, x: Tensor) -> Tensor:
        """Pool a feature map (1, N, H, W)."""
        if x.numel() < LARGE_MAP:
            return cast(Tensor, super().forward(x))
        return cast(Tensor, _HalvedMax.apply(x))


_HALVING = (2, 2, 0, 1, False)
LEAF_MODULES: list[type[nn.Module]] = [ScaledPool, L2Pool, HalvingMaxPool]
"""Modules that torch.fx must not trace into."""


def replace_pooling(model: nn.Module, settings: Backbone) -> None:
    """Replace every max pooling of ``model`` by ``settings.pool``, times ``settings.pool_scale``.

    Raises:
        ConfigError: If there is no max pooling to replace.
    """
    pools = {n: m for n, m in model.named_modules() if isinstance(m, nn.MaxPool2d)}
    if not pools and (settings.pool is not Pool.max or settings.pool_scale != 1.0):
        raise ConfigError(
            f"backbone.pool={settings.pool.name}: {settings.name} has no max pooling to replace; "
            "use backbone.pool=max"
        )
    for path, pool in pools.items():
        window = pool.kernel_size, pool.stride, pool.padding
        new: nn.Module = pool
        if settings.pool is Pool.max and (*window, pool.dilation, pool.ceil_mode) == _HALVING:
            new = HalvingMaxPool()
        elif settings.pool is Pool.average:
            new = nn.AvgPool2d(*window, pool.ceil_mode, count_include_pad=False)
        elif settings.pool is Pool.l2:
            new = L2Pool(pool)
        if settings.pool_scale != 1.0:
            new = ScaledPool(new, settings.pool_scale)
        model.set_submodule(path, new)


def pool_before_relu(trunk: fx.GraphModule) -> None:
    """Exchange ReLUs and the poolings after them: the maps are the same, and less is kept of them.

    The backward pass of a ReLU needs its map, here the one that is a quarter as large.
    """
    returned = next(n for n in trunk.graph.nodes if n.op == "output").all_input_nodes
    modules = dict(trunk.named_modules())
    for pool in list(trunk.graph.nodes):
        if isinstance(modules.get(str(pool.target)), HalvingMaxPool):
            (relu,) = pool.all_input_nodes
            is_relu = isinstance(modules.get(str(relu.target)), nn.ReLU)
            if is_relu and len(relu.users) == 1 and pool not in returned:
                relu.prepend(pool)
                pool.replace_all_uses_with(relu)
                pool.args, relu.args = relu.args, (pool,)
    trunk.recompile()
