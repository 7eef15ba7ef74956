"""Pooling layers that replace the max pooling of a network."""

from typing import cast

import torch
from torch import Tensor, nn

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


LEAF_MODULES: list[type[nn.Module]] = [ScaledPool, L2Pool]
"""Modules that torch.fx must not trace into."""


def replace_pooling(model: nn.Module, settings: Backbone) -> None:
    """Replace every max pooling of ``model`` by ``settings.pool``, times ``settings.pool_scale``.

    Raises:
        ConfigError: If there is no max pooling to replace.
    """
    if settings.pool is Pool.max and settings.pool_scale == 1.0:
        return
    pools = {n: m for n, m in model.named_modules() if isinstance(m, nn.MaxPool2d)}
    if not pools:
        raise ConfigError(
            f"backbone.pool={settings.pool.name}: {settings.name} has no max pooling to replace; "
            "use backbone.pool=max"
        )
    for path, pool in pools.items():
        new: nn.Module = pool
        if settings.pool is Pool.average:
            window = pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode
            new = nn.AvgPool2d(*window, count_include_pad=False)
        elif settings.pool is Pool.l2:
            new = L2Pool(pool)
        if settings.pool_scale != 1.0:
            new = ScaledPool(new, settings.pool_scale)
        model.set_submodule(path, new)
