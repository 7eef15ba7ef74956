"""Pooling layers that replace the max pooling of a network."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from nst_exp.config.schema import Backbone, Pool
from nst_exp.utils.errors import ConfigError


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


class _MaxPool(torch.autograd.Function):
    """Max pooling that does not keep where the largest values are, 8 bytes for each of them.

    The backward pass finds them again, in a small part of the time of a convolution.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: tuple[Any, ...]) -> Tensor:
        """Pool a feature map (1, N, H, W)."""
        ctx.save_for_backward(x)
        ctx.window = window
        return cast(Tensor, max_pool2d(x, *window))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Map the gradient of the pooled map to that of the map."""
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            pooled = max_pool2d(x, *ctx.window)
        return torch.autograd.grad(pooled, x, gradients[0])[0], None


class MaxPool(nn.MaxPool2d):
    """nn.MaxPool2d that needs less memory between the forward and the backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool a feature map (1, N, H, W)."""
        window = self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        return cast(Tensor, _MaxPool.apply(x, window))


LEAF_MODULES: list[type[nn.Module]] = [ScaledPool, L2Pool, MaxPool]
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
        new: nn.Module = MaxPool(*window, pool.dilation, ceil_mode=pool.ceil_mode)
        if settings.pool is Pool.average:
            new = nn.AvgPool2d(*window, pool.ceil_mode, count_include_pad=False)
        elif settings.pool is Pool.l2:
            new = L2Pool(pool)
        if settings.pool_scale != 1.0:
            new = ScaledPool(new, settings.pool_scale)
        model.set_submodule(path, new)
