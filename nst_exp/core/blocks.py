"""Blocks of an image that an encoder can compute one by one, with exact results."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from nst_exp.core.encoder import Encoder
from nst_exp.core.pooling import L2Pool, ScaledPool
from nst_exp.core.receptive_field import ReceptiveField, receptive_fields
from nst_exp.core.targets import Features

# What computes each position from its own surroundings, or each value by itself.
_LOCAL_MODULES = (
    *(nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, L2Pool, ScaledPool, nn.BatchNorm2d, nn.Identity),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.GELU, nn.Hardswish, nn.Dropout),
)
_LOCAL_FUNCTIONS: tuple[Callable[..., Any], ...] = (
    *(operator.add, operator.iadd, operator.mul, torch.add, torch.cat, torch.relu),
    *(nn.functional.relu, nn.functional.silu, nn.functional.gelu),
)


@dataclass(frozen=True)
class Interval:
    """The pixels start..stop of an axis, and those that are computed for them, first..last."""

    start: int
    stop: int
    first: int
    last: int
    length: int  # of the axis
    wraps: bool  # opposite ends meet, so that first..last may lie beyond them

    @property
    def inner(self) -> slice:
        """The pixels start..stop."""
        return slice(self.start, self.stop)

    def pixels(self, device: torch.device) -> Tensor:
        """Return the indices of first..last."""
        return torch.arange(self.first, self.last, device=device) % self.length

    def counted(self, stride: int, positions: int) -> int:
        """Return how many of a map's positions are those of the whole image."""
        at_end = self.last == self.length and not self.wraps
        return positions if at_end else min(positions, (self.last - self.first) // stride)

    def own(self, stride: int, positions: int) -> slice:
        """Return which of a map's positions belong to start..stop."""
        begin, end = ((side - self.first) // stride for side in (self.start, self.stop))
        if self.stop == self.length and not self.wraps:
            end = positions
        # Without padding the last pixels may have no position of their own.
        return slice(min(begin, positions), min(end, positions))

    def places(self, stride: int, chosen: slice, positions: int) -> slice | Tensor:
        """Return where ``chosen`` positions are among all ``positions`` of the image's map."""
        begin = self.first // stride + chosen.start
        end = begin + chosen.stop - chosen.start
        if begin >= 0 and end <= positions:
            return slice(begin, end)
        return torch.arange(begin, end) % positions


@dataclass(frozen=True)
class Block:
    """A part of an image."""

    rows: Interval
    columns: Interval

    def pixels(self, image: Tensor) -> Tensor:
        """Cut the computed pixels out of an image (1, 3, H, W)."""
        device = image.device
        rows = image.index_select(2, self.rows.pixels(device))
        return rows.index_select(3, self.columns.pixels(device))


@dataclass(frozen=True)
class BlockMap:
    """A feature map of a block: its values, and where these are in the map of the image."""

    values: Tensor  # (1, N, h, w)
    places: tuple[slice | Tensor, slice | Tensor]  # rows and columns

    def part(self, whole: Tensor) -> Tensor:
        """Cut the same positions out of a map of the image (1, N, H, W), as the same type."""
        rows, columns = self.places
        return whole[:, :, rows][..., columns].to(self.values)


class Tiling:
    """How an encoder computes an image block by block.

    A block is computed with a margin. ``value_margin`` is as wide as its own positions see,
    ``gradient_margin`` as far as positions reach whose gradient depends on its own pixels. Blocks
    start at multiples of the largest stride, so that every position exists in some block, computed
    from the same pixels as in the whole image.
    """

    def __init__(self, encoder: Encoder, block: int) -> None:
        """Divide images into blocks of at most ``block`` pixels per side, rounded up to a stride.

        Raises:
            ValueError: If a layer depends on the whole image.
        """
        self.encoder, self.fields = encoder, receptive_fields(encoder)
        for node in cast(fx.GraphModule, encoder.trunk).graph.nodes:
            _check_local(node, encoder.trunk)
        self.stride = math.lcm(*(field.stride for field in self.fields.values()))
        self.block = self._rounded(block)
        sides = [side for field in self.fields.values() for side in _reach(field)]
        self.value_margin = self._rounded(max(sides))
        sides = [side for field in self.fields.values() for side in _influence(field)]
        self.gradient_margin = self._rounded(max(sides))
        modes = {getattr(module, "padding_mode", "zeros") for module in encoder.trunk.modules()}
        self.wraps = "circular" in modes

    def _rounded(self, length: float) -> int:
        return self.stride * math.ceil(length / self.stride)

    def blocks(self, height: int, width: int, gradient: bool = False) -> list[Block]:
        """List the blocks of an image, row by row.

        Those of which no ``gradient`` is computed have sides of twice the length: they need less
        memory per pixel.

        Raises:
            ValueError: If opposite borders meet, and the strides do not divide the sides.
        """
        margin = self.gradient_margin if gradient else self.value_margin
        block = self.block if gradient else 2 * self.block
        rows, columns = (self._intervals(length, block, margin) for length in (height, width))
        return [Block(row, column) for row in rows for column in columns]

    def _intervals(self, length: int, block: int, margin: int) -> list[Interval]:
        count = math.ceil(length / block)
        side = self._rounded(length / count)
        if count == 1:
            return [Interval(0, length, 0, length, length, False)]
        if self.wraps and length % self.stride:
            raise ValueError(
                f"an image of {length} pixels has no blocks that tile: it is not a multiple of "
                f"{self.stride}"
            )
        intervals = []
        for start in range(0, length, side):
            stop, first, last = min(start + side, length), start - margin, start + side + margin
            if self.wraps:
                last = stop + margin
            else:
                first, last = max(first, 0), min(last, length)
            intervals.append(Interval(start, stop, first, last, length, self.wraps))
        return intervals

    def maps(self, pixels: Tensor, block: Block, whole: Features, own: bool) -> BlockMaps:
        """Return the feature maps of a block, each computed when it is first read.

        Args:
            pixels: Those of the block, with its margin.
            block: Where they are.
            whole: Maps of the image, of which only the shapes are used.
            own: Whether to return the positions that belong to the block, or all of them.
        """
        return BlockMaps(self, self.encoder.maps_on_demand(pixels), block, whole, own)


class BlockMaps(Mapping[str, BlockMap]):
    """The feature maps of a block by layer."""

    def __init__(
        self, tiling: Tiling, values: Features, block: Block, whole: Features, own: bool
    ) -> None:
        self.fields, self.values_of, self.whole = tiling.fields, values, whole
        self.axes, self.own = ((block.rows, 2), (block.columns, 3)), own

    def __getitem__(self, layer: str) -> BlockMap:
        values, stride = self.values_of[layer], self.fields[layer].stride
        places, chosen = [], []
        for interval, axis in self.axes:
            counted = interval.counted(stride, values.shape[axis])
            part = interval.own(stride, counted) if self.own else slice(0, counted)
            places.append(interval.places(stride, part, self.whole[layer].shape[axis]))
            chosen.append(part)
        return BlockMap(values[:, :, chosen[0], chosen[1]], (places[0], places[1]))

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_of)

    def __len__(self) -> int:
        return len(self.values_of)


def check_blocks(encoder: Encoder, block: int, image: tuple[int, int]) -> None:
    """Check that an image of this width and height can be divided into blocks.

    Raises:
        ValueError: If a layer depends on the whole image, or the sides do not fit.
    """
    tiling = Tiling(encoder, block)
    tiling.blocks(image[1], image[0], gradient=True)


def _reach(field: ReceptiveField) -> Sequence[int]:
    """Return how far positions see beyond the pixels that belong to them, before and after."""
    return -field.start, field.start + field.size - field.stride


def _influence(field: ReceptiveField) -> Sequence[int]:
    """Return how far from a block's border positions begin that see neither it nor wrong pixels.

    The first position before a block with margin m that sees beyond the margin must not see the
    block; positions begin at multiples of the stride.
    """
    before = -field.start % field.stride or field.stride
    after = (field.start + field.size) % field.stride or field.stride
    return field.size - before, field.size - after


def _check_local(node: fx.Node, trunk: nn.Module) -> None:
    local, what = node.op in ("placeholder", "output"), str(node.target)
    if node.op == "call_module":
        module = trunk.get_submodule(what)
        local, what = isinstance(module, _LOCAL_MODULES), type(module).__name__
    elif node.op == "call_function":
        local = node.target in _LOCAL_FUNCTIONS
    if not local:
        raise ValueError(f"{what} may depend on the whole image")
